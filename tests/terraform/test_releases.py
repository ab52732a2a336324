"""A version is installed only when everything about it is certain, and else nothing of it is left."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from driftwatch.config.releases import ReleasesSettings
from driftwatch.config.settings import TerraformSettings
from driftwatch.errors import (
    DiskFullError,
    DriftwatchError,
    NoBinaryError,
    ReleaseRefusedError,
    ReleaseUnavailableError,
    ReleaseUnknownError,
    UsageError,
)
from driftwatch.terraform import Planner, releases
from driftwatch.terraform.engines import Engines, choose
from driftwatch.terraform.installed import installed
from driftwatch.terraform.module import read_module
from driftwatch.terraform.releases import Installer, listed_sum, release
from driftwatch.terraform.request import PlanRequest
from tests.terraform.mirror import LONG_AGO, Answer, Keyring, MirrorServer, keyring, serving, sums_of, zipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.terraform.conftest import Bench

VERSION = "1.11.4"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
PROGRAM = b"\x7fELF a program"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The vendor's key, and others."""

    ring: Keyring
    vendor: str
    stranger: str
    expired: str
    revoked: str


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    if shutil.which("gpg") is None:
        pytest.skip("gpg IS NOT ON PATH: no signature of a release is tested")
    with keyring() as ring:
        old = ("--faked-system-time", LONG_AGO)
        yield Keys(
            ring=ring,
            vendor=ring.make("vendor"),
            stranger=ring.make("stranger"),
            expired=ring.make("expired", *old, expires="1y"),
            revoked=ring.make("revoked"),
        )


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[MirrorServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@dataclass(kw_only=True)
class Shop:
    """A mirror with a release on it, signed by the vendor, and an installer that trusts the vendor."""

    root: Path
    mirror: MirrorServer
    keys: Keys
    told: list[str] = field(default_factory=list)
    ran: list[Path] = field(default_factory=list)
    says: str | None = VERSION
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def tools(self) -> Path:
        return self.root / "tools"

    @property
    def settings(self) -> ReleasesSettings:
        key_file = self.root / "keys.asc"
        if not key_file.exists():
            key_file.write_bytes(self.keys.ring.public(self.keys.stranger, self.keys.vendor))
        return ReleasesSettings(
            **{
                "terraform_url": self.mirror.url,
                "tofu_url": f"{self.mirror.url}/opentofu/releases/download",
                "keys": (key_file,),
                "terraform_fingerprints": (self.keys.vendor,),
                "tofu_fingerprints": (self.keys.vendor,),
                **self.options,
            }
        )

    def trust(self, content: bytes) -> None:
        (self.root / "keys.asc").write_bytes(content)

    def put(
        self,
        archive: bytes | None = None,
        *,
        engine: str = "terraform",
        signer: str | None = None,
        sums: bytes | None = None,
        more: tuple[str, ...] = (),
    ) -> None:
        wanted = release(self.settings, engine, VERSION)
        archive = zipped({engine: PROGRAM, "LICENSE.txt": b"words"}) if archive is None else archive
        sums = sums_of(wanted, archive) if sums is None else sums
        signature = self.keys.ring.sign(sums, signer or self.keys.vendor, *more)
        self.mirror.put(wanted, archive, signature, sums=sums)

    def answer(self, name: str, answer: Answer, engine: str = "terraform") -> None:
        """Instead of the file whose name is, or ends with, `name`."""
        wanted = release(self.settings, engine, VERSION)
        names = {"zip": wanted.archive, "SHA256SUMS": wanted.sums, "sig": wanted.signature}
        self.mirror.answers[self.mirror.path(wanted, names[name])] = answer

    def install(self, engine: str = "terraform", version: str = VERSION) -> Path:
        return (
            Installer(self.settings, self.tools, clock=lambda: NOON, tell=self.told.append, ask=self.ask)
            .install(engine, version)
            .program
        )

    def engines(self) -> Engines:
        """Those of a machine with nothing on PATH."""
        return Engines("auto", "", self.root, self.ask, tools=self.tools)

    def ask(self, program: Path, directory: Path) -> str | None:
        assert program.parent == directory
        self.ran.append(program)
        return self.says

    def left(self) -> list[str]:
        """What lies among the tools, but for the lock."""
        return sorted(
            str(path.relative_to(self.tools)) for path in self.tools.rglob("*") if path.name != "lock"
        )


@pytest.fixture
def shop(tmp_path: Path, mirror: MirrorServer, keys: Keys) -> Shop:
    return Shop(root=tmp_path, mirror=mirror, keys=keys)


@pytest.mark.parametrize("engine", ["terraform", "tofu"])
def test_a_signed_release_is_installed_and_all_of_it_is_told(shop: Shop, engine: str) -> None:
    """What is fetched from where, which key signed, the SHA-256, and where it lies."""
    shop.put(engine=engine)
    program = shop.install(engine)
    assert program == shop.tools / engine / VERSION / engine
    assert program.read_bytes() == PROGRAM
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert shop.left() == [
        engine,
        f"{engine}/{VERSION}",
        f"{engine}/{VERSION}/receipt.json",
        f"{engine}/{VERSION}/{engine}",
    ]
    wanted = release(shop.settings, engine, VERSION)
    receipt = json.loads((program.parent / "receipt.json").read_bytes())
    told = "\n".join(shop.told)
    for name in (wanted.sums, wanted.signature, wanted.archive):
        assert f"fetching {wanted.url(name)}" in told
    assert shop.keys.vendor in told
    assert receipt["archive_sha256"] in told
    assert f"installed {program}" in told
    assert receipt["verified"] == f"a signature of the key {shop.keys.vendor}"
    assert receipt["program_sha256"] == hashlib.sha256(PROGRAM).hexdigest()


def test_what_is_there_already_is_not_fetched_again(shop: Shop) -> None:
    shop.put()
    program = shop.install()
    asked = len(shop.mirror.asked)
    assert shop.install() == program
    assert shop.install(version=f"v{VERSION}") == program
    assert len(shop.mirror.asked) == asked
    assert "is installed already" in shop.told[-1]


def test_a_program_that_was_changed_since_is_not_used_and_is_replaced(shop: Shop) -> None:
    shop.put()
    program = shop.install()
    program.write_bytes(b"\x7fELF another")
    engines = shop.engines()
    with pytest.raises(NoBinaryError):
        engines.found(shop.root)
    assert shop.install().read_bytes() == PROGRAM
    (binary,) = engines.found(shop.root)
    assert (binary.version, binary.source, binary.path) == (VERSION, "tools", program)


def wrong_sum(shop: Shop) -> None:
    shop.put()
    shop.answer("zip", Answer(content=zipped({"terraform": b"\x7fELF evil"})))


def bad_signature(shop: Shop) -> None:
    """The list was changed after it was signed, so that it names an archive of somebody else's."""
    evil = zipped({"terraform": b"\x7fELF evil"})
    shop.put()
    shop.answer("SHA256SUMS", Answer(content=sums_of(release(shop.settings, "terraform", VERSION), evil)))
    shop.answer("zip", Answer(content=evil))


def no_signature(shop: Shop) -> None:
    shop.put()
    shop.answer("sig", Answer(content=b"<html>a page</html>"))


def by_a_stranger(shop: Shop) -> None:
    """Their key is even in the key file; its fingerprint is not allowed."""
    shop.put(signer=shop.keys.stranger)


def by_a_key_in_no_file(shop: Shop) -> None:
    shop.trust(shop.keys.ring.public(shop.keys.stranger))
    shop.put()


def by_an_expired_key(shop: Shop) -> None:
    shop.options["terraform_fingerprints"] = (shop.keys.expired,)
    shop.trust(shop.keys.ring.public(shop.keys.expired))
    shop.put(signer=shop.keys.expired, more=("--faked-system-time", "20200201T000000"))


def by_a_revoked_key(shop: Shop) -> None:
    shop.options["terraform_fingerprints"] = (shop.keys.revoked,)
    shop.trust(shop.keys.ring.public(shop.keys.revoked) + shop.keys.ring.revocation(shop.keys.revoked))
    shop.put(signer=shop.keys.revoked)


def by_an_expired_signature(shop: Shop) -> None:
    shop.trust(shop.keys.ring.public(shop.keys.vendor))
    old = ("--faked-system-time", LONG_AGO)
    key = shop.keys.ring.make(f"old{len(shop.root.name)}{shop.root.parent.name}", *old)
    shop.options["terraform_fingerprints"] = (key,)
    shop.trust(shop.keys.ring.public(key))
    shop.put(signer=key, more=(*old, "--default-sig-expire", "1d"))


def no_key(shop: Shop) -> None:
    shop.options["keys"] = ()
    shop.put()


def a_key_file_that_is_not_there(shop: Shop) -> None:
    shop.options["keys"] = (shop.root / "nowhere.asc",)
    shop.put()


def not_in_the_list(shop: Shop) -> None:
    shop.put(sums=b"0" * 64 + b"  terraform_1.11.4_plan9_mips.zip\n")


def twice_in_the_list(shop: Shop) -> None:
    wanted = release(shop.settings, "terraform", VERSION)
    archive = zipped({"terraform": PROGRAM})
    shop.put(archive, sums=sums_of(wanted, archive) + sums_of(wanted, b"another"))


def traversal(shop: Shop) -> None:
    shop.put(zipped({"terraform": PROGRAM, "../../escaped": b"x"}))


def absolute(shop: Shop) -> None:
    shop.put(zipped({"terraform": PROGRAM, "/tmp/escaped": b"x"}))


def a_link(shop: Shop) -> None:
    shop.put(zipped({"terraform": b"/bin/sh"}, links=("terraform",)))


def no_program(shop: Shop) -> None:
    shop.put(zipped({"bin/terraform": PROGRAM}))


def no_archive(shop: Shop) -> None:
    shop.put(b"no zip at all")


def a_damaged_archive(shop: Shop) -> None:
    archive = bytearray(zipped({"terraform": PROGRAM}))
    archive[archive.index(PROGRAM)] ^= 0xFF
    shop.put(bytes(archive))


def huge_list(shop: Shop) -> None:
    shop.put(sums=b"0" * 64 + b"  x\n" + b"#" * (1 << 20))


def not_that_version(shop: Shop) -> None:
    shop.says = "1.5.7"
    shop.put()


def does_not_run(shop: Shop) -> None:
    shop.says = None
    shop.put()


REFUSED = [
    (wrong_sum, "is not what was released"),
    (bad_signature, "is not of that content"),
    (no_signature, "cannot be read"),
    (by_a_stranger, "which may not sign this"),
    (by_a_key_in_no_file, "in no key file"),
    (by_an_expired_key, "by a key that has expired"),
    (by_a_revoked_key, "by a key that was revoked"),
    (by_an_expired_signature, "has expired"),
    (no_key, "nothing to verify"),
    (a_key_file_that_is_not_there, "no key file"),
    (not_in_the_list, "does not name"),
    (twice_in_the_list, "more than one checksum"),
    (traversal, "would land elsewhere"),
    (absolute, "would land elsewhere"),
    (a_link, "holds a link"),
    (no_program, "holds 0 files"),
    (no_archive, "cannot be unpacked"),
    (a_damaged_archive, "cannot be unpacked"),
    (huge_list, "is larger than"),
    (not_that_version, r"says that it is 1\.5\.7"),
    (does_not_run, "does not run here"),
]


@pytest.mark.parametrize(("arrange", "why"), REFUSED, ids=[each.__name__ for each, _ in REFUSED])
def test_what_is_not_certain_is_refused_and_leaves_nothing(
    shop: Shop, arrange: Callable[[Shop], None], why: str
) -> None:
    arrange(shop)
    with pytest.raises(ReleaseRefusedError, match=why):
        shop.install()
    assert shop.left() == []
    assert bool(shop.ran) is (arrange in (not_that_version, does_not_run))


@pytest.mark.parametrize(
    ("name", "answer", "error", "why"),
    [
        ("SHA256SUMS", Answer(status=404), ReleaseUnknownError, "has no terraform_1.11.4_SHA256SUMS"),
        ("sig", Answer(status=404), ReleaseUnknownError, r"has no .*\.sig"),
        ("zip", Answer(status=404), ReleaseUnknownError, r"has no .*\.zip"),
        ("zip", Answer(status=500), ReleaseUnavailableError, "answered 500"),
        ("zip", Answer(content=b"PK", claims=4000), ReleaseUnavailableError, "could not be fetched whole"),
        ("zip", Answer(status=302, location="http://example.com/x"), ReleaseRefusedError, "not https"),
        ("zip", Answer(status=302, location="file:///etc/passwd"), ReleaseRefusedError, "not https"),
        ("zip", Answer(status=302, location="https://169.254.169.254/x"), ReleaseRefusedError, "nobody's"),
        (
            "zip",
            Answer(status=302, location="https://metadata.google.internal/"),
            ReleaseRefusedError,
            "nobody's",
        ),
        ("zip", Answer(status=302, location="http://127.example.com/"), ReleaseRefusedError, "not https"),
        ("zip", Answer(status=302, location="/loop"), ReleaseUnavailableError, "too often"),
    ],
)
def test_a_mirror_that_fails_leaves_nothing(
    shop: Shop, name: str, answer: Answer, error: type[DriftwatchError], why: str
) -> None:
    shop.put()
    shop.answer(name, answer)
    shop.mirror.answers["/loop"] = Answer(status=302, location="/loop")
    with pytest.raises(error, match=why):
        shop.install()
    assert shop.left() == []
    assert shop.ran == []


def test_a_mirror_that_is_not_there_may_be_tried_again(shop: Shop) -> None:
    shop.put()
    shop.options["terraform_url"] = "http://127.0.0.1:9"
    with pytest.raises(ReleaseUnavailableError) as raised:
        shop.install()
    assert raised.value.report().passing


@pytest.mark.parametrize("answer", [Answer(content=b"0" * 60, drips=True), Answer(drips_head=True)])
def test_a_mirror_that_drips_is_given_up_at_the_deadline(shop: Shop, answer: Answer) -> None:
    """However slowly it comes: each byte is in time for the read, and all of them never for the deadline."""
    shop.put()
    shop.answer("SHA256SUMS", answer)
    shop.options["timeout"] = "1s"
    began = time.monotonic()
    with pytest.raises(ReleaseUnavailableError, match="took too long"):
        shop.install()
    assert time.monotonic() - began < 4
    assert shop.left() == []


def test_a_mirror_that_says_nothing_more_is_given_up_at_the_deadline(shop: Shop) -> None:
    """The read ends with what was left, not with the minute that a read may take otherwise."""
    shop.put()
    shop.answer("SHA256SUMS", Answer(content=b"0" * 60, silent=2.0))
    shop.options["timeout"] = "300ms"
    began = time.monotonic()
    with pytest.raises(ReleaseUnavailableError, match=r"did not answer in time|took too long"):
        shop.install()
    assert time.monotonic() - began < 1.9
    assert shop.left() == []


def test_a_redirect_within_what_is_allowed_is_followed(shop: Shop) -> None:
    """GitHub answers with one to where the files are."""
    shop.put()
    wanted = release(shop.settings, "terraform", VERSION)
    path = shop.mirror.path(wanted, wanted.archive)
    shop.mirror.answers["/elsewhere"] = shop.mirror.answers[path]
    shop.mirror.answers[path] = Answer(status=302, location="/elsewhere")
    assert shop.install().read_bytes() == PROGRAM


def test_a_proxy_of_the_environment_is_used(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for whole addresses."""
    shop.put()
    monkeypatch.setenv("HTTP_PROXY", shop.mirror.url)
    shop.options["terraform_url"] = "http://localhost:9"
    with pytest.raises(ReleaseUnknownError):
        shop.install()
    assert shop.mirror.asked == ["http://localhost:9/terraform/1.11.4/terraform_1.11.4_SHA256SUMS"]


def test_a_key_file_may_hold_a_key_as_it_was_and_as_it_is(shop: Shop, keys: Keys) -> None:
    """A vendor renews a key by moving its expiry; copies from before are still about."""
    old = ("--faked-system-time", LONG_AGO)
    key = keys.ring.make("renewed", *old, expires="1y")
    shop.options["terraform_fingerprints"] = (key,)
    before = keys.ring.public(key)
    shop.trust(before)
    keys.ring.gpg("--quick-set-expire", key, "0")
    shop.put(signer=key)
    with pytest.raises(ReleaseRefusedError, match="by a key that has expired") as raised:
        shop.install()
    assert "the vendor's key as it is now" in str(raised.value.advice)
    after = keys.ring.public(key)
    for number, content in enumerate((before + after, after + before)):
        shop.trust(content)
        shutil.rmtree(shop.tools)
        assert shop.install().is_file(), number


def test_two_installations_at_once_are_one(shop: Shop) -> None:
    """The second waits for the first, and finds what it wants."""
    shop.put()
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(shop.install) for _ in range(2))
    assert first.result() == second.result()
    assert len(shop.mirror.asked) == 3
    assert len(shop.ran) == 1


def test_a_pinned_sum_needs_no_key_and_fetches_nothing_but_the_archive(shop: Shop) -> None:
    archive = zipped({"terraform": PROGRAM})
    wanted = release(shop.settings, "terraform", VERSION)
    shop.put(archive)
    shop.options |= {"keys": (), "pinned": {wanted.archive: hashlib.sha256(archive).hexdigest()}}
    shop.install()
    assert shop.mirror.asked == [shop.mirror.path(wanted, wanted.archive)]
    assert "verified by: a SHA-256 in the settings" in shop.told


def test_a_pinned_sum_that_differs_is_refused(shop: Shop) -> None:
    """Even where the vendor's signature would do."""
    shop.put()
    wanted = release(shop.settings, "terraform", VERSION)
    shop.options["pinned"] = {wanted.archive: "0" * 64}
    with pytest.raises(ReleaseRefusedError, match="not what was released"):
        shop.install()
    assert shop.left() == []


def test_an_archive_that_is_too_large_is_cut_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "_LARGEST_ARCHIVE", 1 << 10)
    shop.put(zipped({"terraform": bytes(1 << 12)}))
    with pytest.raises(ReleaseRefusedError, match="is larger than 1 KB"):
        shop.install()
    assert shop.left() == []


def test_a_program_that_would_unpack_to_more_than_any_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "_LARGEST_PROGRAM", 1 << 10)
    shop.put(zipped({"terraform": bytes(1 << 12)}, stored=False))
    with pytest.raises(ReleaseRefusedError, match="too large"):
        shop.install()
    assert shop.left() == []


def test_a_full_disk_is_told_and_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put()

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(releases, "unpack", full)
    with pytest.raises(DiskFullError, match="no space left"):
        shop.install()
    assert shop.left() == []


def test_what_a_killed_installation_left_is_cleared_away(shop: Shop) -> None:
    shop.put()
    half = shop.tools / "incoming" / "0" / "terraform_1.11.4_linux_amd64.zip"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    (shop.tools / "terraform" / VERSION).mkdir(parents=True)
    assert list(installed(shop.tools)) == []
    shop.install()
    assert not (shop.tools / "incoming").exists()
    assert [each.receipt.version for each in installed(shop.tools)] == [VERSION]


@pytest.mark.parametrize(
    "version",
    ["", "1", "1.11", "latest", "~> 1.5", "../../etc", "1.11.4/..", "1.11.4+ent", "1.11.4x"],
)
def test_only_a_whole_version_can_be_installed(shop: Shop, version: str) -> None:
    with pytest.raises(UsageError, match="whole version"):
        shop.install(version=version)
    assert shop.mirror.asked == []


@pytest.mark.parametrize(
    "given",
    [
        {"terraform_url": "http://mirror.example.com"},
        {"terraform_url": "http://127.example.com"},
        {"terraform_url": "https://169.254.169.254/terraform"},
        {"tofu_url": "https://ada:secret@mirror.example.com"},
        {"terraform_url": "https://mirror.example.com/?token=x"},
        {"terraform_fingerprints": ["72D7468F"]},
        {"terraform_fingerprints": []},
        {"pinned": {"terraform.zip": "0" * 64}},
        {"pinned": {"terraform_1.11.4_linux_amd64.zip": "0" * 63}},
        {"keys": [""]},
        {"anything": "else"},
    ],
)
def test_settings_that_would_weaken_it_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReleasesSettings(**given)


def test_a_fingerprint_may_be_written_as_people_read_it() -> None:
    written = "C874 011F 0AB4 0511 0D02  1055 3436 5D94 72D7 468F"
    assert ReleasesSettings(terraform_fingerprints=(written,)) == ReleasesSettings()


@settings(max_examples=60)
@given(st.text(max_size=300))
def test_no_list_of_checksums_breaks_its_reader(text: str) -> None:
    """It gives the one sum, or refuses."""
    line = f"{'a' * 64}  terraform_1.0.0_linux_amd64.zip"
    try:
        assert listed_sum(f"{text}\n{line}\n", "terraform_1.0.0_linux_amd64.zip") == "a" * 64
    except ReleaseRefusedError as problem:
        assert "more than one" in problem.message  # noqa: PT017


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_archive_breaks_what_unpacks_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """One with changed bytes is refused, or its program is whole; nothing lands elsewhere."""
    root = tmp_path_factory.mktemp("zip")
    content = bytearray(
        zipped({"terraform": PROGRAM, "LICENSE.txt": b"words"}, stored=data.draw(st.booleans()))
    )
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    archive = root / "terraform_1.0.0_linux_amd64.zip"
    archive.write_bytes(bytes(content))
    try:
        assert releases.unpack(archive, "terraform", root / "ready").read_bytes() == PROGRAM
    except ReleaseRefusedError:
        note("refused")
    assert {path.name for path in root.rglob("*")} <= {archive.name, "ready", "terraform"}


def test_the_real_terraform_is_installed_found_and_chosen(
    shop: Shop, real: Bench, terraform_binary: Path, tmp_path: Path
) -> None:
    """An archive with the terraform of this machine: its version is asked, and a stack is planned with it."""
    said = subprocess.run([terraform_binary, "version", "-json"], capture_output=True, check=True).stdout
    version = str(json.loads(said)["terraform_version"])
    wanted = release(shop.settings, "terraform", version)
    archive = zipped({"terraform": terraform_binary.read_bytes()})
    shop.options["pinned"] = {wanted.archive: hashlib.sha256(archive).hexdigest()}
    shop.mirror.put(wanted, archive, b"")
    program = (
        Installer(
            shop.settings,
            shop.tools,
            clock=lambda: NOON,
            tell=shop.told.append,
            ask=real.planner().version_of,
        )
        .install("terraform", version)
        .program
    )
    real.write("main.tf", 'resource "terraform_data" "x" {\n  input = "a"\n}\n')
    alone = Planner(
        TerraformSettings(min_free_mb=1),
        cache=real.cache,
        runs=real.runs,
        environment={"PATH": str(tmp_path / "nothing")},
        tools=shop.tools,
    )
    planned = alone.plan(real.request(), real.stop)
    assert planned.engine.version == version
    assert planned.place is not None
    assert planned.place.binary == program
    assert [each["address"] for each in planned.document["resource_changes"]] == ["terraform_data.x"]


def test_a_mismatch_says_how_to_install_what_is_asked_for(shop: Shop) -> None:
    shop.put()
    shop.install()
    engines = shop.engines()
    checkout = shop.root / "checkout"
    checkout.mkdir()
    (checkout / "main.tf").write_text('terraform {\n  required_version = "~> 1.6.2, != 1.6.3"\n}\n')
    module = read_module(PlanRequest(module=checkout, checkout=checkout, workdir=checkout))
    with pytest.raises(DriftwatchError, match=r"~> 1\.6\.2, != 1\.6\.3.*found terraform 1\.11\.4") as raised:
        choose(engines.found(checkout), "auto", module)
    assert "`driftwatch tools install 1.6.2`" in str(raised.value.advice)
