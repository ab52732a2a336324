"""What `driftwatch check DIR` costs over terraform itself, as a ratio in one run.

    python tests/benchmarks/check_overhead.py DIR [--rounds N]

Takes turns on one initialised root module: `terraform plan -out` with `terraform show -json`, and
`driftwatch check DIR`. Prints the medians and the ratio as JSON, and exits 1 where the check costs more
than 1.05 times the bare commands plus one second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ALLOWED_RATIO = 1.05
ALLOWED_SECONDS = 1.0
NOTHING_WRONG = (0, 2)
"""In sync, or differences found: both are good ends of a check."""


def bare(binary: str, directory: Path) -> float:
    """Seconds for a plan and its JSON, as a script would get them."""
    with tempfile.TemporaryDirectory() as scratch:
        plan = str(Path(scratch) / "plan")
        started = time.perf_counter()
        _run([binary, "plan", "-input=false", "-lock=false", f"-out={plan}"], directory)
        _run([binary, "show", "-json", plan], directory)
        return time.perf_counter() - started


def checked(directory: Path) -> float:
    """Seconds for `driftwatch check DIR`, from the start of the process to its end."""
    started = time.perf_counter()
    _run([sys.executable, "-m", "driftwatch", "check", str(directory), "--format", "json"], directory)
    return time.perf_counter() - started


def measure(directory: Path, rounds: int) -> dict[str, float | bool]:
    """Medians in seconds, and whether the check keeps to what is allowed."""
    binary = shutil.which("terraform") or shutil.which("tofu")
    if binary is None:
        raise SystemExit("neither terraform nor tofu is on PATH")
    bare(binary, directory)  # once for the page cache
    pairs = [(bare(binary, directory), checked(directory)) for _ in range(rounds)]
    plain, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "bare_seconds": round(plain, 3),
        "check_seconds": round(ours, 3),
        "ratio": round(ours / plain, 3),
        "holds": ours <= ALLOWED_RATIO * plain + ALLOWED_SECONDS,
    }


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode not in NOTHING_WRONG:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="The cost of `driftwatch check DIR` over terraform itself.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = measure(arguments.directory, arguments.rounds)
    print(json.dumps(figures, indent=2))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
