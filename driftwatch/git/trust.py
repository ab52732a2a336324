"""Whether a commit or a tag carries a valid signature of somebody who is allowed to sign.

    which kind? → a place with the allowed keys alone → git asks ssh-keygen or gpg → what was said

No exit code is trusted: a signature counts where what was said names exactly one, good, of a key that is
allowed here, and nothing that speaks against it. Keys are judged as of now: one that has expired since, or is
revoked, makes no new commit good. What a commit was once found to be is the mirror's to remember.

The keys lie below the mirror's directory, in a place of their own, whose name is made of what is in it: no
keyring, agent or configuration of whoever runs driftwatch has a say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (dataclass fields are read at run time)
from typing import TYPE_CHECKING

from driftwatch.config.signing import fingerprint, key_fingerprint, ssh_signer
from driftwatch.errors import SignersUnusableError
from driftwatch.git.command import Ending, failure
from driftwatch.git.listing import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from driftwatch.config.gitops import SigningSettings
    from driftwatch.config.signing import SshSigner
    from driftwatch.git.command import Git, Output

UNSIGNED = "it is not signed"

LARGEST_OBJECT = 1 << 20
"""Bytes of a commit or tag that is looked at: a message of a megabyte is none."""
_LARGEST_KEY_FILE = 4 << 20
_LARGEST_ANSWER = 1 << 20
_SECONDS = 60

_BEGIN = re.compile(rb"^(?:gpgsig(?:-sha256)? )?-----BEGIN ([A-Z0-9 ]+)-----[ \t\r]*$", re.MULTILINE)
_SSH, _PGP = "SSH SIGNATURE", frozenset({"PGP SIGNATURE", "PGP MESSAGE"})
_SSH_BLOB = re.compile(rb"-----BEGIN SSH SIGNATURE-----(.*?)-----END SSH SIGNATURE-----", re.DOTALL)
_SSH_GOOD = re.compile(r'^Good "git" signature for .+ with \S+ key (SHA256:\S+)$', re.MULTILINE)
_STATUS = re.compile(r"^\[GNUPG:\] (\S+)(?: (.*))?$", re.MULTILINE)

_GPG_CONFIGURATION = """\
batch
no-tty
no-autostart
disable-dirmngr
no-auto-key-locate
trust-model always
"""
"""Only allowed keys are in this keyring, so each of them is trusted; nothing is fetched or started."""

_AGAINST = {
    "REVKEYSIG": "its PGP key {key} is revoked",
    "EXPKEYSIG": "its PGP key {key} has expired",
    "EXPSIG": "its PGP signature has expired",
    "BADSIG": "its PGP signature, as by {key}, does not fit what it says",
    "ERRSIG": "its PGP key {key} is not allowed, or not known",
}
_WEAK_DIGESTS = frozenset({"1", "2", "3"})
"""MD5, SHA-1 and RIPEMD-160, as RFC 4880 numbers them: their collisions can be, or could be, made."""
_PRIMARY = 9
"""Which word of VALIDSIG is the primary key's fingerprint; see DETAILS in GnuPG's documentation."""
_DIGEST_WORD = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The allowed keys as files: `place` holds git's and gpg's, `pgp` are the primary keys' fingerprints."""

    place: Path
    pgp: frozenset[str]


class Trust:
    """Looks at the signatures in one mirror, whose lock is held wherever something is judged."""

    def __init__(
        self, name: str, settings: SigningSettings, directory: Path, *, clock: Callable[[], datetime]
    ) -> None:
        self._name = name
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._signers = tuple(map(ssh_signer, settings.ssh))
        self._revoked = frozenset(map(key_fingerprint, settings.ssh_revoked))
        self._read: tuple[tuple[object, ...], str] | None = None

    def digest(self) -> str:
        """Names the allowed keys: another digest, another trust. Raises SignersUnusableError."""
        stamps = tuple(self._stamp(path) for path in self._settings.pgp)
        if self._read is None or self._read[0] != stamps:
            parts = [*self._settings.ssh, "", *self._settings.ssh_revoked, "", *map(self._content, stamps)]
            self._read = stamps, hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        return self._read[1]

    def last_digest(self) -> str | None:
        """The digest as it was when the keys could be read."""
        return self._read[1] if self._read else None

    def refusal(self, git: Git, name: str, content: bytes, *, of: str = "commit") -> str | None:
        """Why a commit or tag does not count, as `it …`; None where it does. `content` is as git has it.

        Raises SignersUnusableError where nobody can say.
        """
        kind = signature_of(content, of=of)
        if kind is None:
            return UNSIGNED
        if kind == _SSH:
            return self._ssh_refusal(git, name, content, of)
        if kind in _PGP:
            return self._pgp_refusal(git, name, of)
        return f"it has a signature of a kind that is not looked at ({printable(kind)[:40].lower()})"

    # ---- SSH -------------------------------------------------------------------------------------------

    def _ssh_refusal(self, git: Git, name: str, content: bytes, of: str) -> str | None:
        if not self._signers:
            return "it has an SSH signature, and `signers.ssh` names nobody"
        _expect_program("ssh-keygen", "openssh-client")
        now, key = self._clock(), _key_of(content, of)
        allowed = [signer for signer in self._signers if _counts(signer, now)]
        allowed = [signer for signer in allowed if signer.key not in self._revoked]
        place = self._keys().place
        (place / "allowed_signers").write_text("".join(f"{signer.line}\n" for signer in allowed))
        (place / "revoked_keys").write_text("".join(f"{text}\n" for text in self._settings.ssh_revoked))
        output = self._verified(
            git, name, of, ("gpg.ssh.revocationFile", str(place / "revoked_keys")), place=place
        )
        good = _SSH_GOOD.findall(output.stderr)
        if output.succeeded and good == [key] and any(each.key == key for each in allowed):
            return None
        return self._why_not(key, now, output)

    def _why_not(self, key: str | None, now: datetime, output: Output) -> str:
        shown = key or "of no known form"
        if key in self._revoked:
            return f"its SSH key {shown} is revoked"
        signers = [signer for signer in self._signers if signer.key == key]
        if not signers:
            return f"its SSH key {shown} is not allowed"
        signer = next((each for each in signers if _counts(each, now)), signers[0])
        whose = f"the SSH key {shown} of {printable(signer.principals)}"
        if signer.valid_before and now >= signer.valid_before:
            return f"{whose} has expired ({signer.valid_before:%Y-%m-%d %H:%M})"
        if signer.valid_after and now < signer.valid_after:
            return f"{whose} counts only from {signer.valid_after:%Y-%m-%d %H:%M} on"
        if "verify time" in output.stderr:
            return f"it is dated at a time for which {whose} does not count"
        return f"its SSH signature, as by {printable(signer.principals)}, does not fit what it says"

    # ---- PGP -------------------------------------------------------------------------------------------

    def _pgp_refusal(self, git: Git, name: str, of: str) -> str | None:
        if not self._settings.pgp:
            return "it has a PGP signature, and `signers.pgp` names nobody"
        keys = self._keys()
        output = self._verified(git, name, of, place=keys.place)
        said = _STATUS.findall(output.stderr)
        for word, sentence in _AGAINST.items():
            if found := [rest for each, rest in said if each == word]:
                return sentence.format(key=printable(found[0])[:100])
        good, valid = ([rest for each, rest in said if each == word] for word in ("GOODSIG", "VALIDSIG"))
        words = valid[0].split() if len(good) == len(valid) == 1 else []
        if not output.succeeded or len(words) <= _PRIMARY:
            return "its PGP signature cannot be read as a good one"
        if words[_PRIMARY] not in keys.pgp:
            return f"its PGP key {words[_PRIMARY]} is not allowed"
        if words[_DIGEST_WORD] in _WEAK_DIGESTS:
            return f"its PGP signature, by {printable(good[0])[:100]}, is over a digest that can be forged"
        return None

    # ---- what both need --------------------------------------------------------------------------------

    def _verified(self, git: Git, name: str, of: str, *settings: tuple[str, str], place: Path) -> Output:
        output = git.having(
            settings=(
                ("gpg.program", "gpg"),
                ("gpg.ssh.program", "ssh-keygen"),
                ("gpg.ssh.allowedSignersFile", str(place / "allowed_signers")),
                *settings,
            ),
            variables={"GNUPGHOME": str(place / "gnupg"), "LC_ALL": "C"},
        ).run(f"verify-{of}", "--raw", name, seconds=_SECONDS, limit=_LARGEST_ANSWER)
        if output.ending is not Ending.EXITED:
            raise failure(f"looking at the signature of {name}", output)
        return output

    def _keys(self) -> _Keys:
        """The place of the allowed keys, made where it is not there yet; those of before are removed."""
        place = self._directory / self.digest()
        listed = place / "primary_keys"
        if not listed.exists():
            shutil.rmtree(self._directory, ignore_errors=True)
            (place / "gnupg").mkdir(mode=0o700, parents=True)
            listed.with_suffix(".new").write_text("".join(f"{key}\n" for key in self._imported(place)))
            listed.with_suffix(".new").replace(listed)
        return _Keys(place=place, pgp=frozenset(listed.read_text().split()))

    def _imported(self, place: Path) -> Sequence[str]:
        """Imports the PGP keys into a keyring of their own; returns the primary keys' fingerprints."""
        if not self._settings.pgp:
            return ()
        _expect_program("gpg", "gnupg")
        home = place / "gnupg"
        (home / "gpg.conf").write_text(_GPG_CONFIGURATION)
        known: tuple[str, ...] = ()
        for path in self._settings.pgp:
            self._gpg(home, "--import", "--", str(path))
            now = _primary_keys(self._gpg(home, "--with-colons", "--list-keys"))
            if len(now) == len(known):
                raise self._unusable(path, "holds no public PGP key that is not in another file too")
            known = now
        return known

    def _gpg(self, home: Path, *arguments: str) -> str:
        """What gpg says. A failure to import is not told from its exit code: the keys are there or not."""
        try:
            done = subprocess.run(
                ("gpg", "--homedir", str(home), "--quiet", *arguments),
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as exc:
            raise SignersUnusableError(f"gpg did not end within {_SECONDS} s") from exc
        return done.stdout.decode(errors="replace")

    def _stamp(self, path: Path) -> tuple[Path, int, int]:
        try:
            found = path.stat()
        except OSError as exc:
            raise self._unusable(path, f"cannot be read: {exc.strerror}") from exc
        return path, found.st_mtime_ns, found.st_size

    def _content(self, stamp: tuple[Path, int, int]) -> str:
        path, _, size = stamp
        if size > _LARGEST_KEY_FILE:
            raise self._unusable(path, f"is larger than {_LARGEST_KEY_FILE >> 20} MB")
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as exc:
            raise self._unusable(path, f"cannot be read: {exc.strerror}") from exc

    def _unusable(self, path: Path, why: str) -> SignersUnusableError:
        return SignersUnusableError(
            f"the file {printable(path.name)} with PGP keys of {self._name} {why}",
            advice=f"Correct `signers.pgp` of repositories.{self._name}, or the file.",
        )


def signature_of(content: bytes, *, of: str = "commit") -> str | None:
    """What kind of signature a commit or tag carries, as it says itself; None for none."""
    content = content[:LARGEST_OBJECT]
    if of == "commit":
        header = content.partition(b"\n\n")[0]
        found = [each for each in _BEGIN.finditer(header) if each[0].startswith(b"gpgsig")]
        return found[0][1].decode() if found else None
    body = content.partition(b"\n\n")[2]
    found = [each for each in _BEGIN.finditer(body) if each[0].startswith(b"-")]
    return found[-1][1].decode() if found else None


def _key_of(content: bytes, of: str) -> str | None:
    """The fingerprint of the key that an SSH signature says it is by. Format: OpenSSH's PROTOCOL.sshsig."""
    header, _, body = content[:LARGEST_OBJECT].partition(b"\n\n")
    blobs = _SSH_BLOB.findall(header if of == "commit" else body)
    try:
        blob = base64.b64decode(b"".join(blobs[-1].split())) if blobs else b""
    except binascii.Error:
        return None
    if not blob.startswith(b"SSHSIG"):
        return None
    length = int.from_bytes(blob[10:14])
    return fingerprint(blob[14 : 14 + length]) if 0 < length <= len(blob) - 14 else None


def _counts(signer: SshSigner, now: datetime) -> bool:
    return (signer.valid_after is None or signer.valid_after <= now) and (
        signer.valid_before is None or now < signer.valid_before
    )


def _primary_keys(printed: str) -> tuple[str, ...]:
    """Reads `gpg --with-colons --list-keys`: the fingerprint record that follows each `pub`."""
    found: list[str] = []
    wanted = False
    for line in printed.splitlines():
        fields = line.split(":")
        if fields[0] == "fpr" and wanted:
            found.append(fields[9])
        wanted = fields[0] == "pub" or (wanted and fields[0] != "fpr")
    return tuple(found)


def _expect_program(name: str, package: str) -> None:
    if shutil.which(name) is None:
        raise SignersUnusableError(
            f"there is no {name} on this machine, and without it no signature can be looked at",
            advice=f"Install {name} (Debian: {package}), and make sure that it is on PATH.",
        )
