"""The cloud by itself: no terraform."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox.cloud import Cloud, CloudError, Fault, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from driftwatch.sandbox.cloud import Record


def bucket(cloud: Cloud, name: str = "logs") -> Record:
    return cloud.create(Kind.BUCKET, {"name": name, "tags": {"team": "a"}})


def test_an_object_is_found_again_by_another_process_eyes(sandbox_cloud: Cloud) -> None:
    made = bucket(sandbox_cloud)
    assert Cloud(sandbox_cloud.directory).read(Kind.BUCKET, "logs") == made
    assert made.attributes["arn"] == "arn:sandbox:bucket:local-1::logs"
    assert made.attributes["versioning"] is False


def test_a_change_keeps_the_other_attributes_and_counts_the_revision(sandbox_cloud: Cloud) -> None:
    bucket(sandbox_cloud)
    changed = sandbox_cloud.update(Kind.BUCKET, "logs", {"versioning": True})
    assert changed.revision == 2
    assert changed.attributes["versioning"] is True
    assert changed.attributes["tags"] == {"team": "a"}


def test_none_puts_the_default_back(sandbox_cloud: Cloud) -> None:
    bucket(sandbox_cloud)
    assert sandbox_cloud.update(Kind.BUCKET, "logs", {"tags": None}).attributes["tags"] == {}


def test_a_touch_changes_the_revision_and_nothing_else(sandbox_cloud: Cloud) -> None:
    made = bucket(sandbox_cloud)
    touched = sandbox_cloud.touch(Kind.BUCKET, "logs")
    assert touched.attributes == made.attributes
    assert touched.revision == made.revision + 1


def test_a_database_made_again_under_its_name_is_another_one(sandbox_cloud: Cloud) -> None:
    first = sandbox_cloud.create(Kind.DATABASE, {"name": "orders", "version": "15"})
    sandbox_cloud.delete(Kind.DATABASE, "orders")
    second = sandbox_cloud.create(Kind.DATABASE, {"name": "orders", "version": "15"})
    assert first.attributes["endpoint"] != second.attributes["endpoint"]


def test_objects_are_listed_in_the_order_in_which_they_were_made(sandbox_cloud: Cloud) -> None:
    for name in ("b", "a", "c"):
        bucket(sandbox_cloud, name)
    assert [one.key for one in sandbox_cloud.objects(Kind.BUCKET)] == ["b", "a", "c"]
    assert sandbox_cloud.objects(Kind.DATABASE) == ()


def test_what_is_not_there_is_none_to_read_and_an_error_to_change(sandbox_cloud: Cloud) -> None:
    assert sandbox_cloud.read(Kind.BUCKET, "logs") is None
    for attempt in (
        lambda: sandbox_cloud.get(Kind.BUCKET, "logs"),
        lambda: sandbox_cloud.update(Kind.BUCKET, "logs", {}),
        lambda: sandbox_cloud.delete(Kind.BUCKET, "logs"),
    ):
        with pytest.raises(CloudError, match="NotFound: no bucket 'logs'"):
            attempt()


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"name": "logs"}, "Conflict: bucket 'logs' already exists"),
        (
            {"name": "other", "colour": "red", "arn": "x"},
            "Invalid: a bucket has no arn, colour that could be set",
        ),
        ({"tags": {}}, "Invalid: a bucket needs name"),
        ({"name": ""}, "Invalid: a bucket needs name"),
    ],
)
def test_a_wrong_create_is_refused(sandbox_cloud: Cloud, attributes: dict[str, object], says: str) -> None:
    bucket(sandbox_cloud)
    with pytest.raises(CloudError) as caught:
        sandbox_cloud.create(Kind.BUCKET, attributes)
    assert str(caught.value) == says


def test_an_object_cannot_be_renamed(sandbox_cloud: Cloud) -> None:
    bucket(sandbox_cloud)
    with pytest.raises(CloudError, match="cannot be renamed"):
        sandbox_cloud.update(Kind.BUCKET, "logs", {"name": "other"})


@pytest.mark.parametrize("content", [b"{broken", b"[]", b'{"serial": 1}', b"\xff\xfe", b""])
def test_an_object_file_that_is_damaged_is_named(sandbox_cloud: Cloud, content: bytes) -> None:
    bucket(sandbox_cloud)
    path = sandbox_cloud.directory / "bucket" / "logs.json"
    path.write_bytes(content)
    with pytest.raises(CloudError) as caught:
        sandbox_cloud.read(Kind.BUCKET, "logs")
    assert caught.value.code == "Unreadable"
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../../escape", "..", ".", "a/b", "x\ny", "ünïcode", "faults", "-rf"])
def test_no_name_leaves_the_directory_of_its_kind(tmp_path: Path, name: str) -> None:
    cloud = Cloud(tmp_path / "outer" / "cloud")
    bucket(cloud, name)
    assert cloud.get(Kind.BUCKET, name).attributes["name"] == name
    assert [one.key for one in cloud.objects(Kind.BUCKET)] == [name]
    written = [path for path in tmp_path.rglob("*.json") if path.is_file()]
    assert [path.parent for path in written] == [cloud.directory / "bucket"]


def test_a_name_that_no_file_can_have_is_an_error_of_the_cloud(sandbox_cloud: Cloud) -> None:
    with pytest.raises(CloudError, match="Unwritable"):
        bucket(sandbox_cloud, "x" * 300)


def _count_up(directory: Path, times: int) -> None:
    cloud = Cloud(directory)
    for _ in range(times):
        cloud.touch(Kind.BUCKET, "logs")
        cloud.get(Kind.BUCKET, "logs")


def test_processes_that_write_at_once_lose_nothing_and_read_no_halves(sandbox_cloud: Cloud) -> None:
    bucket(sandbox_cloud)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(_count_up, sandbox_cloud.directory, 50) for _ in range(4)]:
            done.result()
    assert sandbox_cloud.get(Kind.BUCKET, "logs").revision == 1 + 4 * 50
    assert not list(sandbox_cloud.directory.rglob("*.draft"))


def test_a_fault_happens_as_often_as_it_was_asked_for(sandbox_cloud: Cloud) -> None:
    sandbox_cloud.inject(Fault(kind="throttled", operation="read", times=2))
    taken = [sandbox_cloud.take_fault("read", "sandbox_bucket", "logs") for _ in range(3)]
    assert [fault.kind if fault else None for fault in taken] == ["throttled", "throttled", None]
    assert not (sandbox_cloud.directory / "faults.json").exists()


def test_the_first_fault_that_matches_is_taken(sandbox_cloud: Cloud) -> None:
    sandbox_cloud.inject(
        Fault(kind="crash", operation="create"),
        Fault(kind="access_denied", type="sandbox_bucket", key="other"),
        Fault(kind="throttled", type="sandbox_bucket"),
    )
    fault = sandbox_cloud.take_fault("read", "sandbox_bucket", "logs")
    assert fault is not None
    assert fault.kind == "throttled"
    assert sandbox_cloud.take_fault("read", "sandbox_database", "logs") is None
    sandbox_cloud.inject()
    assert sandbox_cloud.take_fault("create", "sandbox_bucket", "logs") is None


@pytest.mark.parametrize(
    "content", ["{", "[1]", '[{"knid": "crash"}]', '[{"kind": "crsh"}]', '{"kind": "crash"}']
)
def test_a_broken_faults_file_is_named(sandbox_cloud: Cloud, content: str) -> None:
    file = sandbox_cloud.directory / "faults.json"
    file.write_text(content)
    with pytest.raises(CloudError, match=str(file)):
        sandbox_cloud.take_fault("read", "sandbox_bucket", "logs")
