"""Quarantine: a provider that cannot be trusted stays out over restarts, until its release or ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driftwatch.warm import quarantine
from driftwatch.warm.packages import Package, Selection
from driftwatch.warm.quarantine import Quarantine

AWS = Package(address="r/hashicorp/aws", version="5.1", binary=Path("a"), digest="h1:aws")
NEWER = Package(address="r/hashicorp/aws", version="5.2", binary=Path("a"), digest="h1:newer")
TIME = Package(address="r/hashicorp/time", version="0.1", binary=Path("t"), digest="h1:time")


def selection(*packages: Package) -> Selection:
    return Selection(packages={each.address: each for each in packages}, left_out=frozenset())


def test_who_is_in_stays_in_until_the_next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state/quarantine.json"
    first = Quarantine(file)
    assert [entry.address for entry in first.add([AWS], "it lied")] == ["r/hashicorp/aws"]
    assert first.add([AWS], "again") == ()
    again = Quarantine(file)
    assert again.affected(selection(AWS, TIME)) == {"r/hashicorp/aws"}
    assert again.affected(selection(NEWER, TIME)) == set()
    assert again.entries()[0].reason == "it lied"
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(quarantine, "__version__", "9.9.9")
    assert Quarantine(file).entries() == ()


@pytest.mark.parametrize("content", ["", "[", "[1]", '[{"x": 1}]', json.dumps({"a": 1})])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "quarantine.json"
    file.write_text(content)
    held = Quarantine(file)
    assert held.entries() == ()
    held.add([AWS], "it lied")
    assert Quarantine(file).affected(selection(AWS)) == {"r/hashicorp/aws"}


def test_where_nothing_can_be_written_it_holds_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    held = Quarantine(tmp_path / "file/quarantine.json")
    held.add([AWS], "it lied")
    assert held.affected(selection(AWS)) == {"r/hashicorp/aws"}
    assert Quarantine(None).entries() == ()
