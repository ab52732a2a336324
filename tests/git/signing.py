"""Real keys that sign real commits: SSH's by ssh-keygen, PGP's by gpg in a home of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Upstream

LONG_AGO = "20200101T000000"
LONG_AGO_SIGNED = "20200101T010000"


@dataclass(frozen=True, slots=True)
class SshIdentity:
    """A key pair of somebody."""

    path: Path
    mail: str

    @classmethod
    def make(cls, path: Path, mail: str) -> SshIdentity:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", mail, "-f", path], check=True)
        return cls(path, mail)

    @property
    def public(self) -> str:
        return self.path.with_suffix(".pub").read_text().strip()

    def line(self, options: str = "") -> str:
        return " ".join(part for part in (self.mail, options, self.public) if part)

    def settings(self) -> list[str]:
        return ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.path}"]


@dataclass(frozen=True, slots=True)
class PgpIdentity:
    """A key in a gpg home. `at` is the time at which it signs, None for now; `public` its exported file."""

    home: Path
    key: str
    public: Path
    program: Path

    def settings(self) -> list[str]:
        given = ("gpg.format=openpgp", f"user.signingkey={self.key}", f"gpg.program={self.program}")
        return [part for setting in given for part in ("-c", setting)]


class PgpHome:
    """A gpg home, and identities in it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory

    def gpg(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [
                *("gpg", "--homedir", self.directory, "--batch", "--quiet"),
                *("--pinentry-mode", "loopback", "--passphrase", "", *arguments),
            ],
            input=stdin,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make(
        self,
        mail: str,
        *,
        expires: str = "0",
        at: str | None = None,
        signs_at: str | None = None,
        more: str = "",
    ) -> PgpIdentity:
        """A key made `at` that time, which signs at another, with `more` options of gpg."""
        created = ["--faked-system-time", at] if at else []
        self.gpg(*created, "--quick-gen-key", mail, "ed25519", "sign", expires)
        listed = self.gpg("--with-colons", "--list-keys", mail)
        key = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        program = self.directory / f"gpg-{mail}"
        faked = f"--faked-system-time {signs_at}" if signs_at else ""
        program.write_text(
            f'#!/bin/sh\nexec gpg --homedir "{self.directory}" --batch --quiet {faked} {more} "$@"\n'
        )
        program.chmod(0o700)
        return PgpIdentity(self.directory, key, self.export(key), program)

    def export(self, key: str) -> Path:
        path = self.directory / f"{key}.asc"
        path.write_text(self.gpg("--armor", "--export", key))
        return path

    def revoke(self, identity: PgpIdentity) -> None:
        """Revokes the key, and exports it anew."""
        made = (self.directory / "openpgp-revocs.d" / f"{identity.key}.rev").read_text()
        self.gpg("--import", stdin=made.replace(":-----BEGIN", "-----BEGIN"))
        self.export(identity.key)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.directory, "--kill", "all"], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def commit(
    upstream: Upstream,
    by: SshIdentity | PgpIdentity | None,
    files: dict[str, str | bytes],
    *,
    dated: str = "",
) -> str:
    """Commits, signed by somebody or by nobody."""
    upstream.write(files)
    upstream.git("add", "--all", "--force", ".")
    sign = ["-S"] if by else ["--no-gpg-sign"]
    dates = {"GIT_AUTHOR_DATE": dated, "GIT_COMMITTER_DATE": dated} if dated else {}
    upstream.git(
        *(by.settings() if by else ()), "commit", "--quiet", "--allow-empty", *sign, "-m", "signed", **dates
    )
    return upstream.head()


def tag(upstream: Upstream, by: SshIdentity | PgpIdentity | None, name: str, at: str = "HEAD") -> None:
    """An annotated tag, signed by somebody or by nobody."""
    sign = ["-s"] if by else ["-a", "--no-sign"]
    upstream.git(*(by.settings() if by else ()), "tag", *sign, "-m", name, name, at)
