"""A played terragrunt: does for one unit what the documentation of the real one says that it does.

Copies the source into a directory of its own below the download directory, puts the unit's files over it,
writes what the root configuration generates, gives `inputs` as TF_VAR_ variables, runs hooks, and runs
$TG_TF_PATH there with the arguments that it was given, and those of `extra_arguments` before them, after an
`init` where one is needed. It reads the HCL that the tests write, and no other. Beside it may lie `version`,
and `mode`, which says what it does wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
UNIT = "terragrunt.hcl"


def setting(name: str, default: str) -> str:
    path = HERE / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else default


VERSION, MODE = setting("version", "1.1.3"), setting("mode", "")
NEW = tuple(map(int, VERSION.split("."))) >= (0, 73, 0)


def option(new: str, old: str) -> str:
    return os.environ["TG_" + new if NEW else "TERRAGRUNT_" + old]


def log(line: str) -> None:
    before = "13:04:05.000 ERROR  [unit] " if NEW else "time=2026-01-02T13:04:05Z level=error msg="
    print(before + line, file=sys.stderr)


def find(name: str) -> Path:
    for directory in Path.cwd().parents:
        if (directory / name).exists():
            return directory / name
    log(f"ParentFileNotFoundError: could not find a {name} in any of the parent folders")
    sys.exit(1)


def terraform(place: Path, environment: dict[str, str], *arguments: str) -> int:
    command = [option("TF_PATH", "TFPATH"), *arguments]
    return subprocess.run(command, cwd=place, env=environment, check=False).returncode


def dependencies(text: str) -> dict[str, str]:
    """The outputs of the units that this one depends on, as inputs with the unit's name before them."""
    found = {}
    for name, path in re.findall(r'dependency\s+"(\w+)"\s*{\s*config_path\s*=\s*"([^"]+)"', text):
        place, environment, _ = prepare((Path.cwd() / path).resolve())
        terraform_init(place, environment)
        said = subprocess.run(
            [option("TF_PATH", "TFPATH"), "output", "-json"],
            cwd=place,
            env=environment,
            check=True,
            capture_output=True,
        )
        found |= {f"{name}_{key}": value["value"] for key, value in json.loads(said.stdout).items()}
    return found


def prepare(unit: Path) -> tuple[Path, dict[str, str], str]:
    text = (unit / UNIT).read_text(encoding="utf-8")
    root = find("root.hcl").read_text(encoding="utf-8") if "include" in text else ""
    source = re.search(r'source\s*=\s*"([^"?]+)', text)
    base, _, below = (source[1] if source else ".").partition("//")
    place = Path(option("DOWNLOAD_DIR", "DOWNLOAD")) / hashlib.sha256(str(unit).encode()).hexdigest()[:12]
    shutil.copytree((unit / base).resolve(), place, dirs_exist_ok=True)
    place /= below
    shutil.copytree(unit, place, dirs_exist_ok=True)
    state = re.search(r'path\s*=\s*"([^"]+)/\${path_relative_to_include\(\)}', root)
    if state:
        where = Path(state[1]) / unit.name / "terraform.tfstate"
        (place / "backend.tf").write_text(
            f'terraform {{\n  backend "local" {{\n    path = "{where}"\n  }}\n}}\n'
        )
    inputs = dict(re.findall(r'^\s*(\w+)\s*=\s*"([^"]*)"\s*#\s*input', text, re.MULTILINE))
    environment = os.environ | {f"TF_VAR_{name}": value for name, value in inputs.items()}
    return place, environment, text


def terraform_init(place: Path, environment: dict[str, str]) -> None:
    if not (place / ".terraform").exists() and (code := terraform(place, environment, "init", "-no-color")):
        log("OpenTofu/Terraform invocation failed")
        sys.exit(code)


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print("terragrunt version", ("v" if not NEW else "") + VERSION)
        return 0
    if NEW:
        assert arguments[:2] == ["run", "--"], arguments
        arguments = arguments[2:]
    (HERE / "asked").write_text(
        json.dumps([arguments, {name: value for name, value in os.environ.items() if name.startswith("T")}])
    )
    if MODE == "skips":
        return 0
    place, environment, text = prepare(Path.cwd())
    environment |= {f"TF_VAR_{name}": value for name, value in dependencies(text).items()}
    terraform_init(place, environment)
    if (hook := re.search(r"execute\s*=\s*(\[.*\])", text)) and (
        code := terraform(place, environment, *json.loads(hook[1]))
    ):
        log("error running hook")
        return code
    if MODE == "calls by name" and (
        code := subprocess.run(["terraform", "apply", "-auto-approve"], cwd=place, check=False).returncode
    ):
        return code
    extra = re.search(r"^\s*arguments\s*=\s*(\[.*\])", text, re.MULTILINE)
    environment |= dict(re.findall(r'^\s*(TF_\w+)\s*=\s*"([^"]*)"', text, re.MULTILINE))
    code = terraform(
        place, environment, arguments[0], *json.loads(extra[1] if extra else "[]"), *arguments[1:]
    )
    if MODE == "lies":
        return 0
    return 3 if MODE == "fails after" else code


sys.exit(main())
