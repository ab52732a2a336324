"""A stack's own copy of its directory, so that terraform neither needs nor gets to write into the checkout.

Terraform insists on its dependency lock file in the directory it works in, and writes one there when there
is none; data sources such as `archive_file` write beside the code. Checkouts are shared and read-only, and a
person's directory is theirs. So terraform works in a tree of copies and links:

- the module's directory, and those of the local modules that it uses, are directories of the tree, with
  copies of their files: terraform resolves links to a module's directory, and `path.module` would turn from
  `../modules/x` into another, absolute path, which ends up in attributes;
- what lies beside them on the way down from the top is linked as it is, so that `../../common.yaml` is there.

The tree of a stack always stands at the same place, so that `path.cwd` and `abspath()` do not change from one
commit's checkout to the next. `.terraform` and, for daemons, `terraform.d` of the repository are left out,
and so are local states beside code that keeps its state elsewhere.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.terraform.module import Module

_NEVER = (".terraform",)
_NEVER_IN_DAEMONS = (".terraform", "terraform.d")
"""terraform.d/plugins is an implied mirror: providers from the repository, run at plan."""

_LARGEST_COPY = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """`real` are the directories that the tree has itself: those on the way to a module, and its parts."""

    modules: frozenset[Path]
    real: frozenset[Path]
    left_out: frozenset[Path]
    link: Callable[[Path, Path], None]


def place_in(tree: Path, module: Module, *, personal: bool) -> Path:
    """The module's directory in its tree."""
    return tree / module.directory.relative_to(_top(module, personal=personal))


def _top(module: Module, *, personal: bool) -> Path:
    """A person's tree begins at the file system's root: their module may refer to anything on the machine."""
    return Path(module.directory.anchor) if personal else module.checkout


def lay_out(tree: Path, module: Module, *, personal: bool) -> Path:
    """Builds `tree` anew and returns the module's directory in it.

    The files of a person's tree are symbolic links: theirs are not touched in any way.
    """
    modules = frozenset({module.directory, *module.local_modules})
    layout = _Layout(
        modules=modules,
        real=frozenset(parent for each in modules for parent in (each, *each.parents)),
        left_out=frozenset(
            [
                *(module.directory / name for name in (_NEVER if personal else _NEVER_IN_DAEMONS)),
                *module.stray_state,
            ]
        ),
        link=_symlink if personal else _copy,
    )
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(mode=0o700, parents=True)
    _fill(_top(module, personal=personal), tree, layout, whole=False)
    return place_in(tree, module, personal=personal)


def _fill(source: Path, target: Path, layout: _Layout, *, whole: bool) -> None:
    """Fills `target` with what `source` holds; `whole` within a module, of which all is the tree's own."""
    whole = whole or source in layout.modules
    for path in _entries(source, layout):
        place = target / path.name
        if path in layout.left_out:
            continue
        if path.is_symlink():
            place.symlink_to(path.readlink())
        elif not path.is_dir():
            (layout.link if whole else _symlink)(path, place)
        elif path in layout.real or (whole and not path.name.startswith(".")):
            place.mkdir(mode=0o700)
            _fill(path, place, layout, whole=whole)
        else:
            _symlink(path, place)


def _entries(source: Path, layout: _Layout) -> list[Path]:
    """What is in `source`; where that cannot be listed (`/home` may not be), what must be there."""
    try:
        return [Path(entry.path) for entry in os.scandir(source)]
    except PermissionError:
        return [path for path in layout.real if path.parent == source]


def _symlink(path: Path, place: Path) -> None:
    place.symlink_to(path)


def _copy(path: Path, place: Path) -> None:
    """A file of the tree's own: `archive_file` may write over it, and some providers refuse links.

    What is larger than any code is linked, as it would cost more than it is worth.
    """
    status = path.stat()
    if status.st_size > _LARGEST_COPY:
        _symlink(path, place)
    else:
        shutil.copyfile(path, place)
        place.chmod(status.st_mode | 0o200)
