"""How exactly, and how fast, it is known which stacks a commit touches, in a large monorepo.

    python tests/benchmarks/touched.py [--stacks N] [--modules N] [--commits N] [--seed N]

Makes a repository of so many stacks and shared modules with real Git, and random commits on top: edits,
renames, deletions, links, var files, pinned versions, the repository's own settings. The real inventory goes
from one commit to the next. What it says is touched is compared with an oracle that reads the whole tree
anew, and that knows nothing of Git's hashes; the time is that of all that a refresh does after the fetch.
Prints JSON, and exits 1 where one commit is wrong, or where one in a hundred takes longer than allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.config.settings import Settings
from driftwatch.git import Fetched, Mirror
from driftwatch.pipeline.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from driftwatch.git import RootModule
    from driftwatch.model import ErrorReport, StackDeclaration

ALLOWED_MS = 300
START = datetime(2026, 3, 1, tzinfo=UTC)
VAR_FILES = ("../common.tfvars", "extra.tfvars")
PINS = (".terraform-version", ".opentofu-version", ".tool-versions")

File: TypeAlias = "tuple[str, str]"
"""Git's mode, and the content; of a link, where it leads."""
Tree: TypeAlias = "dict[str, File]"


def text(content: str) -> File:
    return "100644", content


def link(target: str) -> File:
    return "120000", target


@dataclass
class Monorepo:
    """A repository that people work on, as a mapping of paths."""

    stacks: int
    modules: int
    random: random.Random
    files: Tree = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        for number in range(self.modules):
            self._module(f"modules/m{number:03d}", number)
        for number in range(20):
            self.files[f"shared/p{number:02d}.json"] = text("{}\n")
        for number in range(self.stacks):
            self._stack(f"stacks/t{number % 20:02d}/e{number % 3}/s{number:04d}")
        for team in range(20):
            for env in range(3):
                self.files[f"stacks/t{team:02d}/e{env}/common.tfvars"] = text("# common\n")
        self.files[".driftwatch.yaml"] = text(self._words())
        self.files["README.md"] = text("# Infrastructure\n")

    def change(self) -> None:
        """What one commit brings: one change, or a few."""
        changes = [
            *[self._edit_stack] * 6,
            *[self._edit_module] * 3,
            *[self._edit_other] * 2,
            self._var_file,
            self._common_var_file,
            self._shared_file,
            self._rename_stack,
            self._delete_stack,
            self._new_stack,
            self._template,
            self._module_to_link,
            self._link_back,
            self._link_file,
            self._own_words,
            self._pin,
            self._other_modules,
            self._broken,
            self._rename_module_file,
        ]
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            self.random.choice(changes)()

    # ---- what there is ---------------------------------------------------------------------------------

    def roots(self) -> list[str]:
        return sorted({posixpath.dirname(path) for path in self.files if path.endswith("/backend.tf")})

    def _pick(self, suffix: str, prefix: str = "stacks/") -> str | None:
        found = [path for path in self.files if path.startswith(prefix) and path.endswith(suffix)]
        return self.random.choice(found) if found else None

    def _new(self) -> int:
        self._count += 1
        return self._count

    def _stack(self, path: str) -> None:
        up = "../" * (path.count("/") + 1)
        key = f"{path}/terraform.tfstate"
        sources = [f"{up}modules/m{self.random.randrange(self.modules):03d}" for _ in range(3)]
        policy = f"shared/p{self.random.randrange(20):02d}.json"
        self.files |= {
            f"{path}/backend.tf": text(
                f'terraform {{\n  backend "s3" {{\n    bucket = "states"\n    key = "{key}"\n  }}\n}}\n'
            ),
            f"{path}/main.tf": text(
                _uses(sources) + f'\nlocals {{\n  policy = file("${{path.module}}/{up}{policy}")\n}}\n'
            ),
            f"{path}/variables.tf": text('variable "name" {\n  type = string\n}\n'),
            f"{path}/terraform.tfvars": text(f'name = "{path}"\n'),
        }

    def _module(self, path: str, number: int) -> None:
        used = self.random.sample(range(number), min(number, 2)) if number % 3 else []
        self.files |= {
            f"{path}/main.tf": text(
                _uses([f"../m{each:03d}" for each in used]) + 'resource "terraform_data" "it" {}\n'
            ),
            f"{path}/variables.tf": text('variable "name" {\n  default = "x"\n}\n'),
            f"{path}/outputs.tf": text("output it {\n  value = terraform_data.it.id\n}\n"),
        }

    def _words(self) -> str:
        entries = [
            {"path": f"stacks/t{team:02d}/**", "owners": [f"@team-{team}"]} for team in range(20) if team % 4
        ]
        own = [{"path": f"stacks/t{self.random.randrange(20):02d}/*/*", "labels": {"n": str(self._new())}}]
        return json.dumps({"stacks": [*entries, *own]})

    # ---- changes ---------------------------------------------------------------------------------------

    def _append(self, path: str | None) -> None:
        if path is not None and self.files[path][0] == "100644":
            self.files[path] = text(f"{self.files[path][1]}# {self._new()}\n")

    def _edit_stack(self) -> None:
        self._append(self._pick(self.random.choice(("main.tf", "variables.tf", "terraform.tfvars"))))

    def _edit_module(self) -> None:
        self._append(self._pick(".tf", "modules/"))

    def _edit_other(self) -> None:
        self._append(self.random.choice(("README.md", "shared/p00.json")))
        self.files[f"docs/{self._new()}.md"] = text("More.\n")

    def _var_file(self) -> None:
        path = f"{self.random.choice(self.roots())}/extra.tfvars"
        if path in self.files and self.random.random() < 0.7:
            del self.files[path]
        else:
            self.files[path] = text(f'name = "{self._new()}"\n')

    def _common_var_file(self) -> None:
        self._append(self._pick("common.tfvars"))

    def _shared_file(self) -> None:
        self._append(self._pick(".json", "shared/"))

    def _rename_stack(self) -> None:
        self._move(self.random.choice(self.roots()), f"stacks/t01/e1/renamed{self._new()}")

    def _move(self, old: str, new: str) -> None:
        for path in [path for path in self.files if path.startswith(f"{old}/")]:
            self.files[new + path.removeprefix(old)] = self.files.pop(path)

    def _delete_stack(self) -> None:
        gone = self.random.choice(self.roots())
        for path in [path for path in self.files if path.startswith(f"{gone}/")]:
            del self.files[path]

    def _new_stack(self) -> None:
        """Now and then below another one."""
        above = self.random.choice(("stacks/t02/e2", self.random.choice(self.roots())))
        self._stack(f"{above}/new{self._new()}")

    def _template(self) -> None:
        self.files[f"{self.random.choice(self.roots())}/templates/{self.random.randrange(3)}.tpl"] = text(
            f"{self._new()}\n"
        )

    def _module_to_link(self) -> None:
        name = f"modules/m{self.random.randrange(self.modules):03d}"
        if f"{name}/main.tf" in self.files:
            new = f"modules/moved{self._new()}"
            self._move(name, new)
            self.files[name] = link(posixpath.basename(new))

    def _link_back(self) -> None:
        links = [path for path, (mode, _) in self.files.items() if mode == "120000" and path.count("/") == 1]
        if links:
            path = self.random.choice(links)
            target = f"modules/{self.files.pop(path)[1]}"
            for each in [each for each in self.files if each.startswith(f"{target}/")]:
                self.files[path + each.removeprefix(target)] = self.files[each]

    def _link_file(self) -> None:
        """A file that lies elsewhere is linked in; it may say something of modules, too."""
        root, number = self.random.choice(self.roots()), self._new()
        self.files[f"linked/{number}.tf"] = text(f"# linked {number}\n")
        up = "../" * (root.count("/") + 1)
        self.files[f"{root}/linked.tf"] = link(f"{up}{self._pick('.tf', 'linked/')}")
        self._append(self._pick(".tf", "linked/"))

    def _own_words(self) -> None:
        self.files[".driftwatch.yaml"] = text(self._words())

    def _pin(self) -> None:
        path = self.random.choice(("stacks/t03/", "stacks/t04/e1/", "stacks/t05/")) + self.random.choice(PINS)
        if path in self.files and self.random.random() < 0.5:
            del self.files[path]
        else:
            self.files[path] = text(f"1.{self._new()}.0\n")

    def _other_modules(self) -> None:
        path = self._pick("main.tf")
        if path is not None:
            up = "../" * path.count("/")
            self.files[path] = text(_uses([f"{up}modules/m{self.random.randrange(self.modules):03d}"]))

    def _broken(self) -> None:
        path = self._pick("main.tf")
        if path is not None:
            self.files[path] = text(f'{self.files[path][1]}resource "x" "n{self._new()}" {{\n')

    def _rename_module_file(self) -> None:
        path = self._pick("outputs.tf", "modules/")
        if path is not None:
            self.files[path.replace("outputs", f"out{self._new()}")] = self.files.pop(path)


def _uses(sources: Sequence[str]) -> str:
    return "".join(
        f'module "m{number}" {{\n  source = "{source}"\n}}\n' for number, source in enumerate(sources)
    )


class Oracle:
    """Which stacks there are and what each one reads, told from the whole tree as plainly as can be."""

    def __init__(self, files: Tree) -> None:
        self.files = files
        self.below: dict[str, list[str]] = defaultdict(list)
        for path in files:
            parts = path.split("/")
            for length in range(1, len(parts)):
                self.below["/".join(parts[:length])].append(path)
        self.words = json.loads(files[".driftwatch.yaml"][1])["stacks"]
        self.code = {directory: self._code(directory) for directory in self.below}
        self.uses = {directory: self._uses(directory) for directory in self.below}

    def stacks(self) -> dict[str, object]:
        """Each stack's directory, with all that a check of it could depend on."""
        used = {each for directory, its in self.uses.items() for each in its if each != directory}
        return {
            directory: (self._reads(directory), self._options(directory))
            for directory in self.below
            if directory.startswith("stacks/")
            and 'backend "s3"' in self.code[directory]
            and directory not in used
        }

    def _real(self, path: str) -> str:
        """Where a path leads, link by link; a step is gone up after the links before it were followed."""
        at: list[str] = []
        todo = path.split("/")
        while todo:
            part = todo.pop(0)
            if part == "..":
                at.pop()
            elif part not in ("", "."):
                at.append(part)
            mode, content = self.files.get("/".join(at), ("", ""))
            if mode == "120000":
                at.pop()
                todo = [*content.split("/"), *todo]
        return "/".join(at)

    def _code(self, directory: str) -> str:
        return "\n".join(
            self.files.get(self._real(path), ("", ""))[1]
            for path in self.below[directory]
            if posixpath.dirname(path) == directory and path.endswith(".tf")
        )

    def _uses(self, directory: str) -> set[str]:
        return {
            self._real(f"{directory}/{source}")
            for source in re.findall(r'^  source = "(\.[^"]*)"', self.code[directory], re.MULTILINE)
        }

    def _reads(self, directory: str) -> dict[str, File | None]:
        found: dict[str, File | None] = {}
        for module in self._modules(directory):
            self._take(module, found)
            for file in re.findall(r'file\("\$\{path\.module\}/([^"]*)"\)', self.code.get(module, "")):
                self._take(f"{module}/{file}", found)
        for name in VAR_FILES:
            self._take(f"{directory}/{name}", found)
        above = directory
        while above:
            above = posixpath.dirname(above)
            for name in PINS:
                self._take(f"{above}/{name}", found)
        return found

    def _modules(self, directory: str) -> set[str]:
        reached, todo = {directory}, [directory]
        while todo:
            fresh = self.uses.get(todo.pop(), set()) - reached
            reached |= fresh
            todo += fresh
        return reached

    def _take(self, path: str, found: dict[str, File | None]) -> None:
        real = self._real(path)
        every = [real] if real in self.files else self.below.get(real, [])
        found.update(dict.fromkeys([] if every else [real]))
        for each in every:
            if each not in found:
                found[each] = self.files[each]
                if self.files[each][0] == "120000":
                    self._take(each, found)

    def _options(self, directory: str) -> object:
        owners, labels = None, dict[str, str]()
        for entry in self.words:
            parts, globs = directory.split("/"), entry["path"].split("/")
            fits = parts[:2] == globs[:2] if globs[-1] == "**" else len(parts) == len(globs)
            if fits and fnmatchcase(parts[1], globs[1]):
                owners = entry.get("owners", owners)
                labels |= entry.get("labels", {})
        return owners, labels


@dataclass
class Walk:
    """A mirror that goes on by one commit with each fetch: the network is not what is measured."""

    mirror: Mirror
    commits: Iterator[str]
    at: str | None = None

    def fetch(self) -> Fetched:
        previous, self.at = self.at, next(self.commits)
        return Fetched(commit=self.at, previous=previous, changed=True, rewritten=False)

    def head(self) -> str | None:
        return self.at

    def discover(self, commit: str, globs: Sequence[str]) -> tuple[RootModule, ...]:
        return self.mirror.discover(commit, globs)

    def read(self, commit: str, path: str) -> bytes | None:
        return self.mirror.read(commit, path)

    def tree(self, commit: str, paths: Sequence[str]) -> str:
        return self.mirror.tree(commit, paths)


class Quiet:
    """A register that keeps the latest stacks only."""

    def __init__(self) -> None:
        self.stacks: set[str] = set()

    def record_fetch(self, repository: str, *, error: ErrorReport | None, **_: object) -> None:
        if error is not None:
            raise AssertionError(f"{repository}: {error.message}")

    def sync_stacks(
        self, repository: str, declared: Sequence[StackDeclaration], at: datetime, **_: object
    ) -> None:
        del repository, at
        self.stacks = {item.id.path for item in declared}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the walk has shown. `wrong` names each commit whose touched set was not the oracle's."""

    commits: int
    touched: int
    gone: int
    wrong: tuple[str, ...]
    first_ms: float
    milliseconds: tuple[float, ...]
    cpu: tuple[float, ...]
    """Of those, what this process and git were at work; on a machine that is busy otherwise it says more."""

    def slowest(self, share: float = 0.99) -> float:
        """What so large a share of the commits takes at most."""
        return _slowest(self.milliseconds, share)

    def busiest(self, share: float = 0.99) -> float:
        """The same in CPU time."""
        return _slowest(self.cpu, share)


def _slowest(taken: Sequence[float], share: float) -> float:
    return sorted(taken)[min(int(len(taken) * share), len(taken) - 1)]


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def walk(
    directory: Path,
    *,
    stacks: int,
    modules: int,
    commits: int,
    seed: int,
    source: Callable[[Mirror, Iterator[str]], Walk] = Walk,
) -> Outcome:
    """Makes the repository and goes through it."""
    repository = Monorepo(stacks=stacks, modules=modules, random=random.Random(seed))  # noqa: S311  (a sample)
    snapshots = [dict(repository.files)]
    for _ in range(commits):
        repository.change()
        snapshots.append(dict(repository.files))
    upstream = directory / "upstream.git"
    names = write(upstream, snapshots)
    settings = Settings.model_validate(
        {
            "repositories": {
                "mono": {
                    "url": f"file://{upstream}",
                    "stacks": [{"path": "stacks/**", "var_files": list(VAR_FILES)}],
                }
            }
        }
    )
    mirror = Mirror("mono", settings.repositories["mono"], directory / "mirror", clock=lambda: START)
    mirror.fetch()
    register = Quiet()
    inventory = Inventory(settings, {"mono": source(mirror, iter(names))}, register, clock=lambda: START)
    return _compare(inventory, register, snapshots)


def _compare(inventory: Inventory, register: Quiet, snapshots: Sequence[Tree]) -> Outcome:
    started = time.perf_counter()
    inventory.refresh("mono")
    first = (time.perf_counter() - started) * 1000
    known: Mapping[str, object] = Oracle(snapshots[0]).stacks()
    wrong: list[str] = []
    took: list[float] = []
    worked: list[float] = []
    touched = gone = 0
    for number, files in enumerate(snapshots[1:], start=1):
        before = register.stacks
        started, busy = time.perf_counter(), _cpu()
        refreshed = inventory.refresh("mono")
        took.append((time.perf_counter() - started) * 1000)
        worked.append((_cpu() - busy) * 1000)
        now = Oracle(files).stacks()
        expected = {path for path in now if now[path] != known.get(path)}
        said = {stack.path for stack in refreshed.touched}
        if said != expected or register.stacks != now.keys() or before != known.keys():
            wrong.append(
                f"{number}: too much {sorted(said - expected)}, too little {sorted(expected - said)}"
            )
        touched, gone, known = touched + len(said), gone + len(before - register.stacks), now
    return Outcome(
        commits=len(took),
        touched=touched,
        gone=gone,
        wrong=tuple(wrong),
        first_ms=first,
        milliseconds=tuple(took),
        cpu=tuple(worked),
    )


def write(upstream: Path, snapshots: Sequence[Tree]) -> list[str]:
    """Writes a bare repository with one commit for each of these trees, and returns their names."""
    git = ["git", f"--git-dir={upstream}"]
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(upstream)], check=True)
    stream: list[str] = []
    before: Tree = {}
    for number, files in enumerate(snapshots):
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.com> {1_700_000_000 + number} +0000\n")
        stream.append("data 1\n.\n")
        stream += [f"D {path}\n" for path in before.keys() - files.keys()]
        for path, (mode, content) in files.items():
            if before.get(path) != (mode, content):
                stream.append(f"M {mode} inline {path}\ndata {len(content.encode())}\n{content}\n")
        before = files
    subprocess.run([*git, "fast-import", "--quiet"], input="".join(stream).encode(), check=True)
    listed = subprocess.run(
        [*git, "rev-list", "--reverse", "main"], stdout=subprocess.PIPE, check=True, text=True
    )
    return listed.stdout.split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stacks", type=int, default=1000)
    parser.add_argument("--modules", type=int, default=100)
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = walk(
            Path(directory),
            stacks=given.stacks,
            modules=given.modules,
            commits=given.commits,
            seed=given.seed,
        )
    figures = {
        "stacks": given.stacks,
        "modules": given.modules,
        "commits": outcome.commits,
        "touched": outcome.touched,
        "gone": outcome.gone,
        "wrong": outcome.wrong,
        "first_ms": round(outcome.first_ms),
        "median_ms": round(outcome.slowest(0.5)),
        "p99_ms": round(outcome.slowest()),
        "slowest_ms": round(outcome.slowest(1)),
        "cpu_median_ms": round(outcome.busiest(0.5)),
        "cpu_p99_ms": round(outcome.busiest()),
    }
    print(json.dumps(figures, indent=2))
    return 1 if outcome.wrong or outcome.slowest() > ALLOWED_MS else 0


if __name__ == "__main__":
    sys.exit(main())
