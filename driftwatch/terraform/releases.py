"""Installs a version of terraform or tofu from a mirror of its vendor's releases, when a person says so.

    what is fetched → checksums → who signed them → archive → its checksum → the one program in it → a look

Nothing is unpacked before its SHA-256 is one that an allowed key signed, or that the settings pin; nothing
runs before that. What goes wrong leaves nothing behind: all happens in a directory of its own, which gets its
final name in the end. Never called by a daemon.

gpg is asked for words, not for its exit code: it ends with 0 for a good signature by an expired key
(`doc/DETAILS` of GnuPG says what the words mean).
"""

from __future__ import annotations

import errno
import logging
import lzma
import os
import platform
import re
import secrets
import shutil
import stat
import struct
import subprocess
import tempfile
import threading
import time
import zipfile
import zlib
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx2

from driftwatch.config.releases import may_be_asked
from driftwatch.config.values import is_loopback_url
from driftwatch.errors import (
    DiskFullError,
    ReleaseRefusedError,
    ReleaseUnavailableError,
    ReleaseUnknownError,
    UsageError,
)
from driftwatch.terraform.installed import Installed, Receipt, digest, installed, write_receipt
from driftwatch.terraform.workdir import held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.releases import ReleasesSettings

_VERSION = re.compile(r"[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}(?:-[0-9A-Za-z.]{1,32})?")
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_SIGNATURES = {"terraform": "sig", "tofu": "gpgsig"}
"""What the signature's name ends with; OpenTofu's `.sig` is cosign's, which gpg cannot read."""

_LARGEST_LIST = 1 << 20
_LARGEST_SIGNATURE = 1 << 16
_LARGEST_ARCHIVE = 512 << 20
_LARGEST_PROGRAM = 1 << 30
"""Bytes. Terraform's archives have about 30 MB and its program 100."""

_CHUNK = 1 << 20
_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 15.0
_READ_SECONDS = 60.0
_GPG_SECONDS = 60
_WAIT_SECONDS = 900.0

_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises for archives that are none, or that somebody made to be read."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<name>\S+)")
_STATUS = re.compile(r"\[GNUPG:\] (?P<word>[A-Z_]+) ?(?P<rest>.*)")
_BAD = {
    "BADSIG": "is not of that content",
    "EXPSIG": "has expired",
    "EXPKEYSIG": "is by a key that has expired",
    "REVKEYSIG": "is by a key that was revoked",
}
_WEAK_DIGESTS = ("1", "2", "3")
"""MD5, SHA-1 and RIPEMD-160, by their numbers in OpenPGP (RFC 4880, 9.4)."""

_OF_DOCUMENTS = ("00", "01")
"""Kinds of signatures (RFC 4880, 5.2.1); others are of keys, not of what they lie beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version for one platform, and where a mirror has it."""

    engine: str
    version: str
    platform: str
    base: str

    @property
    def archive(self) -> str:
        return f"{self.engine}_{self.version}_{self.platform}.zip"

    @property
    def sums(self) -> str:
        return f"{self.engine}_{self.version}_SHA256SUMS"

    @property
    def signature(self) -> str:
        return f"{self.sums}.{_SIGNATURES[self.engine]}"

    def url(self, name: str) -> str:
        below = f"v{self.version}" if self.engine == "tofu" else f"{self.engine}/{self.version}"
        return f"{self.base}/{below}/{name}"


def release(settings: ReleasesSettings, engine: str, version: str) -> Release:
    """What `version` means on this machine; raises UsageError for what is no version."""
    exact = version.strip().removeprefix("v")
    if not _VERSION.fullmatch(exact):
        raise UsageError(
            "only a whole version can be installed, such as 1.11.4",
            advice="Name one; `driftwatch tools list` shows those that are there.",
        )
    base = settings.tofu_url if engine == "tofu" else settings.terraform_url
    return Release(engine=engine, version=exact, platform=_platform(), base=base)


def _platform() -> str:
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{_MACHINES.get(machine, machine)}"


class Installer:
    """Installs into one directory of tools. `tell` hears what is fetched from where, and what vouches for it.

    `ask(program, directory)` runs a program that is verified, and gives the version that it says it has.
    """

    def __init__(
        self,
        settings: ReleasesSettings,
        tools: Path,
        *,
        clock: Callable[[], datetime],
        tell: Callable[[str], None],
        ask: Callable[[Path, Path], str | None],
    ) -> None:
        self._settings = settings
        self._tools = tools
        self._clock = clock
        self._tell = tell
        self._ask = ask

    def install(self, engine: str, version: str) -> Installed:
        """Returns what is installed then; of one that is there already nothing is fetched.

        Raises UsageError, a ReleaseError, or DiskFullError.
        """
        wanted = release(self._settings, engine, version)
        with _disk_faults():
            self._tools.mkdir(mode=0o755, parents=True, exist_ok=True)
            with held(
                self._tools / "lock", threading.Event(), _WAIT_SECONDS, shared_by="another installation"
            ):
                if there := self._present(wanted):
                    self._tell(f"{engine} {wanted.version} is installed already: {there.program}")
                    return there
                return self._install(wanted)

    def _present(self, wanted: Release) -> Installed | None:
        for each in installed(self._tools):
            if (each.receipt.engine, each.receipt.version) == (wanted.engine, wanted.version):
                return each if each.is_intact() else None
        return None

    def _install(self, wanted: Release) -> Installed:
        pinned = self._settings.pinned.get(wanted.archive)
        if pinned is None and not self._settings.keys:
            raise ReleaseRefusedError(
                f"there is nothing to verify {wanted.archive} with",
                advice="Name a file with the vendor's public key under `terraform.releases.keys`, or the "
                "archive's SHA-256 under `terraform.releases.pinned`.",
            )
        incoming = self._tools / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)  # of an installation that was killed
        place = incoming / secrets.token_hex(8)
        place.mkdir(mode=0o700, parents=True)
        try:
            return self._fetch_and_place(wanted, place, pinned)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _fetch_and_place(self, wanted: Release, place: Path, pinned: str | None) -> Installed:
        fetch = _Fetch(time.monotonic() + self._settings.timeout.total_seconds())
        try:
            expected, verified = (pinned, "a SHA-256 in the settings") if pinned else (None, "")
            if expected is None:
                expected, verified = self._signed_sum(wanted, place, fetch)
            self._tell(f"verified by: {verified}")
            self._tell(f"expected SHA-256 of {wanted.archive}: {expected}")
            archive = place / wanted.archive
            self._tell(f"fetching {wanted.url(wanted.archive)}")
            fetch.into(archive, wanted.url(wanted.archive), _LARGEST_ARCHIVE)
        finally:
            fetch.close()
        found = digest(archive)
        if found != expected:
            raise ReleaseRefusedError(
                f"{wanted.archive} is not what was released: its SHA-256 is {found}, expected was {expected}",
                advice="Do not use it. Look at the mirror, and at what is between you and it.",
            )
        program = unpack(archive, wanted.engine, place / "ready")
        receipt = Receipt(
            engine=wanted.engine,
            version=wanted.version,
            archive=wanted.archive,
            url=wanted.url(wanted.archive),
            archive_sha256=found,
            program_sha256=digest(program),
            verified=verified,
            installed_at=self._clock().isoformat(),
        )
        self._expect_version(wanted, program)
        return self._settle(receipt, program.parent)

    def _signed_sum(self, wanted: Release, place: Path, fetch: _Fetch) -> tuple[str, str]:
        """The archive's SHA-256 in a list that an allowed key has signed, and whose that is."""
        sums, signature = place / wanted.sums, place / wanted.signature
        for path, limit in ((sums, _LARGEST_LIST), (signature, _LARGEST_SIGNATURE)):
            self._tell(f"fetching {wanted.url(path.name)}")
            fetch.into(path, wanted.url(path.name), limit)
        allowed = (
            self._settings.tofu_fingerprints
            if wanted.engine == "tofu"
            else self._settings.terraform_fingerprints
        )
        signer = verify(sums, signature, keys=self._settings.keys, allowed=allowed)
        return listed_sum(sums.read_text(encoding="utf-8", errors="replace"), wanted.archive), signer

    def _expect_version(self, wanted: Release, program: Path) -> None:
        said = self._ask(program, program.parent)
        if said != wanted.version:
            raise ReleaseRefusedError(
                f"the {wanted.engine} in {wanted.archive} "
                + (f"says that it is {said}" if said else "does not run here"),
                advice="See that it is of this machine's kind, and that programs may run where the state is.",
            )

    def _settle(self, receipt: Receipt, ready: Path) -> Installed:
        write_receipt(receipt, ready)
        for each in ready.iterdir():
            _to_disk(each)
        final = self._tools / receipt.engine / receipt.version
        final.parent.mkdir(mode=0o755, exist_ok=True)
        if final.exists():  # not intact, or we would not be here; it may still run somewhere
            final.rename(ready.parent / "replaced")
        ready.chmod(0o755)
        ready.rename(final)
        _to_disk(final.parent)
        self._tell(f"installed {final / receipt.engine}")
        return Installed(program=final / receipt.engine, receipt=receipt)


class _Fetch:
    """Downloads, all of them before one deadline. Only https, but for what does not leave this machine."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        for noisy in ("httpx2", "httpcore2"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # Proxies and a company's own certificates, as the environment says; redirects are looked at first.
        self._client = httpx2.Client(
            follow_redirects=False,
            trust_env=True,
            headers={"User-Agent": "driftwatch", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        self._client.close()

    def into(self, path: Path, url: str, limit: int) -> None:
        """Writes what is at `url` into `path`. Raises a ReleaseError, and always by the deadline.

        In a thread that can be left alone: a name that is not resolved, or the head of an answer that comes
        byte by byte, keeps httpx from saying anything, and no timeout of a read ends that.
        """
        said: Future[None] = Future()

        def fetch() -> None:
            try:
                self._follow(path, url, limit)
                said.set_result(None)
            except Exception as problem:  # noqa: BLE001  (it is raised where it is waited for)
                said.set_exception(problem)

        left = self._left(path)
        threading.Thread(target=fetch, name="fetch", daemon=True).start()
        wait([said], timeout=left)
        if not said.done():
            raise _late(path)
        said.result()

    def _follow(self, path: Path, url: str, limit: int) -> None:
        for _ in range(_MOST_REDIRECTS + 1):
            following = self._once(path, url, limit)
            if following is None:
                return
            url = following
        raise ReleaseUnavailableError(f"{path.name}: the mirror redirects too often")

    def _once(self, path: Path, url: str, limit: int) -> str | None:
        """None once it is there, or where to go instead."""
        if not may_be_asked(url):
            raise ReleaseRefusedError(
                f"{path.name}: the mirror redirects to a place that is not https, or is nobody's",
                advice="Name another mirror under `terraform.releases`.",
            )
        try:
            with self._client.stream("GET", url, timeout=self._patience(path)) as answer:
                if answer.has_redirect_location:
                    return self._elsewhere(url, answer.headers["Location"])
                _judge(answer.status_code, path.name)
                self._write(answer, path, limit)
                return None
        except httpx2.TimeoutException as problem:
            raise ReleaseUnavailableError(f"{path.name}: the mirror did not answer in time") from problem
        except (httpx2.HTTPError, httpx2.InvalidURL) as problem:
            raise ReleaseUnavailableError(
                f"{path.name} could not be fetched whole ({type(problem).__name__})"
            ) from problem

    @staticmethod
    def _elsewhere(url: str, location: str) -> str:
        """A mirror out in the world must not lead back into this machine."""
        target = urljoin(url, location)
        if is_loopback_url(target) and not is_loopback_url(url):
            raise ReleaseRefusedError("the mirror redirects into this machine")
        return target

    def _patience(self, path: Path) -> httpx2.Timeout:
        """How long to wait for one answer: what is left till the deadline, and at most what is usual."""
        left = self._left(path)
        return httpx2.Timeout(min(_CONNECT_SECONDS, left), read=min(_READ_SECONDS, left))

    def _left(self, path: Path) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _late(path)
        return left

    def _write(self, answer: httpx2.Response, path: Path, limit: int) -> None:
        """As it comes in: gathered into larger pieces, a byte a second would outlast any deadline."""
        written = 0
        with path.open("wb") as file:
            for chunk in answer.iter_raw():
                self._left(path)
                written += len(chunk)
                if written > limit:
                    raise ReleaseRefusedError(f"{path.name} is larger than {limit >> 10} KB")
                file.write(chunk)


def _late(path: Path) -> ReleaseUnavailableError:
    return ReleaseUnavailableError(
        f"{path.name} took too long", advice="Try again, or raise `terraform.releases.timeout`."
    )


def _judge(status: int, name: str) -> None:
    if status == HTTPStatus.OK:
        return
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise ReleaseUnknownError(f"the mirror has no {name}")
    raise ReleaseUnavailableError(f"{name}: the mirror answered {status}")


def listed_sum(text: str, name: str) -> str:
    """The SHA-256 of `name` in a list as sha256sum writes it; it must be there once."""
    found = {
        match["sha256"].lower()
        for line in text.splitlines()
        if (match := _LINE.fullmatch(line.strip())) and match["name"] == name
    }
    if len(found) != 1:
        what = "does not name" if not found else "has more than one checksum for"
        raise ReleaseRefusedError(f"the list of checksums {what} {name}")
    return found.pop()


def verify(content: Path, signature: Path, *, keys: Sequence[Path], allowed: Sequence[str]) -> str:
    """Who signed `content`: one of the `allowed` keys, which is in one of the files `keys`.

    Raises ReleaseRefusedError for every other case.
    """
    gpg = shutil.which("gpg")
    if gpg is None:
        raise ReleaseRefusedError(
            "gpg is not on PATH: no signature can be verified",
            advice="Install gnupg, or name the archive's SHA-256 under `terraform.releases.pinned`.",
        )
    # A directory with a short name: gpg may put sockets there.
    with tempfile.TemporaryDirectory(prefix="dw-gpg-") as home:
        for path in keys:
            if not path.is_file():
                raise ReleaseRefusedError(
                    f"there is no key file {path}", advice="Mend `terraform.releases.keys`."
                )
            _gpg(gpg, home, "--import", str(path))
        said = _gpg(gpg, home, "--status-fd", "1", "--verify", str(signature), str(content))
    return _signer(said, signature.name, allowed)


def _gpg(gpg: str, home: str, *arguments: str) -> str:
    quiet = ("--no-options", "--batch", "--no-tty", "--no-auto-key-retrieve", "--trust-model", "always")
    try:
        ran = subprocess.run(
            [gpg, "--homedir", home, *quiet, *arguments],
            capture_output=True,
            check=False,
            timeout=_GPG_SECONDS,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": home},
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ReleaseRefusedError(f"gpg could not do its work ({type(problem).__name__})") from problem
    return ran.stdout.decode(errors="replace")


def _signer(said: str, name: str, allowed: Sequence[str]) -> str:
    """From gpg's status lines: the allowed key whose signature is good in every respect."""
    words = [(match["word"], match["rest"]) for line in said.splitlines() if (match := _STATUS.match(line))]
    for word, rest in words:
        if word in _BAD:
            raise _refused(name, f"{_BAD[word]} ({rest.split(' ')[0]})", word)
    why, of = "cannot be read", ""
    for word, rest in words:
        fields = rest.split()
        if word == "ERRSIG":
            why, of = f"is by a key that is in no key file ({fields[0]})", word
        if word == "VALIDSIG":
            primary, hashing, kind = fields[-1], fields[7], fields[8]
            if primary in allowed and hashing not in _WEAK_DIGESTS and kind in _OF_DOCUMENTS:
                return f"a signature of the key {primary}"
            why, of = f"is by the key {primary}, which may not sign this, or not in this way", word
    raise _refused(name, why, of)


def _refused(name: str, why: str, word: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"the signature {name} {why}",
        advice="Get the vendor's key as it is now, and name its file under `terraform.releases.keys`."
        if word in ("EXPKEYSIG", "ERRSIG")
        else "Do not use what it signs. Look at the mirror, and at `terraform.releases`.",
    )


def unpack(archive: Path, engine: str, into: Path) -> Path:
    """Takes the program of that name out of the archive, and nothing else. Raises ReleaseRefusedError."""
    into.mkdir(mode=0o755)
    try:
        with zipfile.ZipFile(archive) as opened:
            for each in opened.infolist():
                _expect_harmless(each)
            wanted = [each for each in opened.infolist() if each.filename == engine]
            if len(wanted) != 1:
                raise ReleaseRefusedError(f"{archive.name} holds {len(wanted)} files with the name {engine}")
            if wanted[0].file_size > _LARGEST_PROGRAM:
                raise ReleaseRefusedError(f"the {engine} in {archive.name} is too large to be one")
            return _take(opened, wanted[0], into / engine)
    except _DAMAGED as problem:
        raise ReleaseRefusedError(f"{archive.name} cannot be unpacked: {problem}") from problem
    except OSError as problem:
        if problem.errno == errno.EINVAL:  # it says of a member that it lies before its beginning
            raise ReleaseRefusedError(f"{archive.name} cannot be unpacked: its list is wrong") from problem
        raise


def _expect_harmless(member: zipfile.ZipInfo) -> None:
    parts = member.filename.replace("\\", "/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if ".." in parts or parts[0] == "" or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ReleaseRefusedError("the archive holds a link, or a file that would land elsewhere")


def _take(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Path:
    taken = 0
    with opened.open(member) as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            taken += len(chunk)
            if taken > member.file_size:
                raise ReleaseRefusedError(f"{path.name} is larger than its archive says")
            target.write(chunk)
    path.chmod(0o755)
    return path


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_faults() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL:
            raise DiskFullError(
                "no space left for what is to be installed",
                advice="Free some space in the state directory, which needs about 200 MB for a version.",
            ) from problem
        raise
