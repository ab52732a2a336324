"""Writes the corpus anew: `python -m tests.drift.make_corpus [NAME…]`, with terraform on PATH.

Without names all of it. Look at the difference before you commit it: a document that changed its meaning
fails `test_corpus.py` anyway.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftwatch.sandbox.mirror import cli_config, install
from tests.drift.recorder import Recorder
from tests.drift.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

CORPUS = Path(__file__).parent / "corpus"


def main(names: Sequence[str]) -> None:
    binary = Path(shutil.which("terraform") or shutil.which("tofu") or sys.exit("no terraform on PATH"))
    CORPUS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "terraform.rc"
        config.write_text(cli_config(install(Path(scratch) / "mirror")), encoding="utf-8")
        for name in names or SCENARIOS:
            recorder = Recorder(binary=binary, cli_config=config, root=Path(scratch) / name)
            for suffix, document in recorder.play(SCENARIOS[name]).items():
                write(CORPUS / f"{name}{suffix}.json", document)


def write(file: Path, document: dict[str, Any]) -> None:
    """As small as it is, the corpus is read by people, too."""
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
