"""A mirror of releases on the loopback interface, and keys that sign what lies there."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.terraform.releases import Release

LONG_AGO = "20200101T000000"


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """A directory of gpg's with secret keys in it. Its path must be short: gpg puts sockets there."""

    home: Path

    def gpg(self, *arguments: str, content: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        return subprocess.run(
            [*command, "--passphrase", "", *arguments], input=content, capture_output=True, check=True
        ).stdout

    def make(self, name: str, *more: str, expires: str = "never") -> str:
        """A new key; returns its fingerprint."""
        self.gpg(*more, "--quick-gen-key", f"{name} <{name}@example.com>", "ed25519", "sign", expires)
        listed = self.gpg("--with-colons", "--list-keys", f"{name}@example.com").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def public(self, *fingerprints: str) -> bytes:
        return self.gpg("--armor", "--export", *fingerprints)

    def sign(self, content: bytes, fingerprint: str, *more: str) -> bytes:
        return self.gpg(*more, "-u", fingerprint, "--detach-sign", "-o", "-", content=content)

    def revocation(self, fingerprint: str) -> bytes:
        """The certificate that gpg makes with each key, with the colon taken out that keeps it harmless."""
        text = (self.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text(encoding="utf-8")
        return text.replace(":-----BEGIN", "-----BEGIN").encode()


@contextmanager
def keyring() -> Iterator[Keyring]:
    with tempfile.TemporaryDirectory(prefix="dw-keys-") as home:
        yield Keyring(home=Path(home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, capture_output=True)
        shutil.rmtree(Path(home, "S.gpg-agent"), ignore_errors=True)


@dataclass(kw_only=True)
class Answer:
    """What the mirror says to one path."""

    content: bytes = b""
    status: int = 200
    location: str | None = None
    claims: int | None = None
    """A Content-Length that is not the content's."""

    drips: bool = False
    """Sends it byte by byte, ten in a second."""

    drips_head: bool = False
    """A head that has no end, byte by byte."""

    silent: float = 0.0
    """Seconds before it says anything."""


@dataclass(kw_only=True)
class MirrorServer:
    """Files by path. `asked` are the paths in order."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, wanted: Release, archive: bytes, signature: bytes, *, sums: bytes | None = None) -> None:
        """A release as its vendor lays it out."""
        for name, content in {
            wanted.archive: archive,
            wanted.sums: sums_of(wanted, archive) if sums is None else sums,
            wanted.signature: signature,
        }.items():
            self.answers[self.path(wanted, name)] = Answer(content=content)

    def path(self, wanted: Release, name: str) -> str:
        return wanted.url(name).removeprefix(self.url)


def sums_of(wanted: Release, archive: bytes) -> bytes:
    """The list of checksums, with a line of another platform's."""
    other = "0" * 64 + f"  {wanted.engine}_{wanted.version}_plan9_mips.zip"
    return f"{other}\n{hashlib.sha256(archive).hexdigest()}  {wanted.archive}\n".encode()


def zipped(members: dict[str, bytes], *, links: tuple[str, ...] = (), stored: bool = True) -> bytes:
    """An archive; `links` are members that are symbolic links."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = archive.compression
            info.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o755) << 16
            archive.writestr(info, content)
    return out.getvalue()


@contextmanager
def serving() -> Iterator[MirrorServer]:
    """A mirror that answers 404 until something is put there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    mirror = MirrorServer(url=f"http://127.0.0.1:{server.server_port}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            answer = mirror.answers.get(self.path, Answer(status=404))
            time.sleep(answer.silent)
            with suppress(ConnectionError):  # whoever asked has heard enough
                self.tell(answer)

        def tell(self, answer: Answer) -> None:
            if answer.drips_head:
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Endless: ")
                for _ in range(50):
                    self.wfile.write(b"a")
                    time.sleep(0.1)
            self.send_response(answer.status)
            self.send_header(
                "Content-Length", str(len(answer.content) if answer.claims is None else answer.claims)
            )
            if answer.location:
                self.send_header("Location", answer.location)
            self.end_headers()
            if not answer.drips:
                self.wfile.write(answer.content)
                return
            for each in answer.content:
                self.wfile.write(bytes([each]))
                time.sleep(0.1)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
