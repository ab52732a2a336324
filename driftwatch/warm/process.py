"""One provider process: started as terraform would start it, spoken to over its own socket.

The handshake is go-plugin's: a magic cookie in the environment, and one line on stdout that says where the
provider listens. What it prints after that is read and dropped but for the last of it, so that its pipes
never fill. With `PLUGIN_CLIENT_CERT` left out a Go provider speaks plain gRPC on a socket in a directory of
ours; one that always speaks TLS says its certificate in the handshake.
"""

from __future__ import annotations

import base64
import errno
import os
import selectors
import shutil
import signal
import ssl
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import grpc

from driftwatch.errors import PoolUnavailableError, ProviderNotStartedError, ProviderProtocolError
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from driftwatch.warm.packages import Package

COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
"""Terraform's way to tell a plugin that it is one (hashicorp/terraform, internal/plugin/serve.go)."""

_OF_THE_MACHINE = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
"""What keeps any program from being started just now."""

PROTOCOLS = (5, 6)
_CORE_PROTOCOL = "1"
_TAIL = 1 << 14
_LONGEST_HANDSHAKE = 1 << 16
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_REAP_SECONDS = 5.0
_TICK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a provider says of itself. `certificate` is PEM, None for plain gRPC."""

    protocol: int
    socket: str
    certificate: bytes | None


def read_handshake(line: str, provider: str) -> Handshake:
    """Reads `1|<protocol>|unix|<socket>|grpc|<certificate>`; later fields are go-plugin's own.

    Raises ProviderNotStartedError for what is no handshake, ProviderProtocolError for one of another kind.
    """
    parts = line.strip().split("|")
    if len(parts) < 5 or not parts[0].isdigit() or not parts[1].isdigit():
        raise ProviderNotStartedError(f"{provider} printed no handshake: {redact(line.strip())[:200]!r}")
    core, protocol, network, socket, kind, *rest = parts
    if core != _CORE_PROTOCOL or kind != "grpc" or int(protocol) not in PROTOCOLS:
        raise ProviderProtocolError(
            f"{provider} speaks plugin protocol {core}/{protocol} over {kind}; known are 5 and 6 over grpc"
        )
    if network != "unix":
        raise ProviderProtocolError(
            f"{provider} listens on {network} and not on a Unix socket, so that anybody here could talk to it"
        )
    certificate = rest[0] if rest else ""
    return Handshake(
        protocol=int(protocol),
        socket=socket,
        certificate=_pem(certificate, provider) if certificate else None,
    )


def _pem(encoded: str, provider: str) -> bytes:
    """From base64 DER without padding."""
    try:
        der = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError as problem:
        raise ProviderProtocolError(f"{provider} printed a certificate that cannot be read") from problem
    return ssl.DER_cert_to_PEM_cert(der).encode()


_LOGS = ("SDK", "SDK_FRAMEWORK", "SDK_HELPER_SCHEMA", "SDK_MUX", "SDK_PROTO", "PROVIDER")
_LOG_LEVEL = "ERROR"
"""A plugin writes all its traces, bodies of requests among them, and leaves it to terraform to drop them.

Nobody reads them here. They cost a tenth of a warm plan's CPU, and a sixth of a replay's.
"""


_GARBAGE_PERCENT = "200"
"""Go's collector goes through a provider's schemas, a hundred megabytes that never change, half as often."""


def environment_for_provider(
    environment: Mapping[str, str], temporary: Path, package: Package
) -> dict[str, str]:
    """What a provider is started with: `environment`, and what makes it a plugin, and a quiet one."""
    kept = {name: value for name, value in environment.items() if not name.startswith("PLUGIN_")}
    name = package.address.rpartition("/")[2].upper().replace("-", "_")
    logs = (*_LOGS, f"PROVIDER_{name}", f"PROVIDER_{name}_BASE")
    return {
        **{f"TF_LOG_{log}": _LOG_LEVEL for log in logs},
        "GOGC": _GARBAGE_PERCENT,
        **kept,
        COOKIE[0]: COOKIE[1],
        "PLUGIN_PROTOCOL_VERSIONS": ",".join(map(str, PROTOCOLS)),
        "PLUGIN_MIN_PORT": "0",
        "PLUGIN_MAX_PORT": "0",
        "TMPDIR": str(temporary),
    }


class ProviderProcess:
    """A provider that runs. One lease at a time uses it; the pool says whose."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        handshake: Handshake,
        package: Package,
        said: Tail,
        *,
        message_limit: int,
    ) -> None:
        self.package = package
        self.protocol = handshake.protocol
        self.configured: bytes | None = None
        """The Configure request that it had; it never gets another one."""
        self.spoiled: str | None = None
        """Why nobody may use it again."""
        self.temporary: Path | None = None
        """Its own TMPDIR, which goes with it."""
        self._child = child
        self._said = said
        self._socket = handshake.socket
        self._calls: dict[str, grpc.UnaryUnaryMultiCallable[bytes, bytes]] = {}
        self.channel = _channel(handshake, message_limit)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def service(self) -> str:
        return f"tfplugin{self.protocol}.Provider"

    def call(self, method: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        """A call of one request and one response, as bytes; `method` is `/<service>/<name>`."""
        found = self._calls.get(method)
        if found is None:
            found = self._calls[method] = self.channel.unary_unary(method)
        return found

    def spoil(self, reason: str) -> None:
        """Keeps it from being used again; the first reason stays."""
        self.spoiled = self.spoiled or reason

    @property
    def is_usable(self) -> bool:
        return self.spoiled is None and self._child.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether somebody ended it from outside, such as a kernel that is out of memory."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_TICK)
        return self._child.returncode == -signal.SIGKILL

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    @property
    def memory(self) -> int:
        """Resident bytes; 0 where it is gone."""
        return resident(self._child.pid) if self._child.poll() is None else 0

    @property
    def last_words(self) -> str:
        """The end of what it printed, redacted."""
        return redact(self._said.text).strip()

    def kill(self) -> None:
        """Ends it at once, with what it started: a provider that only reads has nothing to finish."""
        self.channel.close()
        end(self._child)
        with suppress(OSError):
            Path(self._socket).unlink(missing_ok=True)
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)


def _channel(handshake: Handshake, message_limit: int) -> grpc.Channel:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", message_limit),
        ("grpc.max_send_message_length", message_limit),
        ("grpc.default_authority", "localhost"),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
    ]
    target = f"unix:{handshake.socket}"
    if handshake.certificate is None:
        return grpc.insecure_channel(target, options=options)
    trusted = grpc.ssl_channel_credentials(root_certificates=handshake.certificate)
    named = [*options, ("grpc.ssl_target_name_override", "localhost")]
    return grpc.secure_channel(target, trusted, options=named)


def end(child: subprocess.Popen[bytes]) -> None:
    """Kills a child with its group, and reaps it."""
    if child.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_REAP_SECONDS)


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor so far; 0 where there is no /proc to tell."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = status.rpartition(")")[2].split()  # the name before it may hold blanks
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """A process' resident memory in bytes; 0 where it is not known."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        return int(shown) * 1024 if shown.isdigit() else 0
    return int(pages) * _PAGE


class Tail:
    """Reads a child's output to its end in a thread of its own, and keeps the last of it."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._lock = threading.Lock()

    def feed(self, chunk: bytes) -> None:
        with self._lock:
            self._kept += chunk
            del self._kept[:-_TAIL]

    def follow(self, output: IO[bytes]) -> None:
        """Takes `output` over, and closes it at its end."""
        threading.Thread(target=self._read, args=(output,), name="provider-output", daemon=True).start()

    def _read(self, output: IO[bytes]) -> None:
        with output, suppress(OSError):
            while chunk := os.read(output.fileno(), 1 << 14):
                self.feed(chunk)

    @property
    def text(self) -> str:
        with self._lock:
            return self._kept.decode(errors="replace")


def launch(
    package: Package,
    *,
    environment: Mapping[str, str],
    directory: Path,
    guard: Sequence[str],
    seconds: float,
    message_limit: int,
    spawn: Callable[..., subprocess.Popen[bytes]],
    stop: threading.Event,
) -> ProviderProcess:
    """Starts `package` in `directory` and returns it once it has said where it listens.

    `spawn` is subprocess.Popen, called in a thread that lives on: with `guard` (`setpriv --pdeathsig KILL`)
    the kernel kills the child when that thread ends. Raises ProviderNotStartedError or ProviderProtocolError.
    """
    name = f"the provider {package.address} {package.version}"
    try:
        child = spawn(
            [*guard, str(package.binary)],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o077,
        )
    except OSError as problem:
        kind = PoolUnavailableError if problem.errno in _OF_THE_MACHINE else ProviderNotStartedError
        raise kind(f"{name} cannot be started: {problem.strerror}") from problem
    said = Tail()
    assert child.stdout is not None and child.stderr is not None  # noqa: S101, PT018  (they are pipes)
    said.follow(child.stderr)
    try:
        line = _first_line(child, child.stdout.fileno(), seconds, stop, name)
        handshake = read_handshake(line, name)
    except (ProviderNotStartedError, ProviderProtocolError) as problem:
        end(child)
        child.stdout.close()
        problem.detail = redact(said.text).strip()[-2000:] or None
        raise
    said.follow(child.stdout)
    return ProviderProcess(child, handshake, package, said, message_limit=message_limit)


def _first_line(
    child: subprocess.Popen[bytes], descriptor: int, seconds: float, stop: threading.Event, name: str
) -> str:
    """The first line of output, waited for. What Go's providers print before it goes to stderr."""
    give_up = time.monotonic() + seconds
    line = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if stop.is_set():
                raise ProviderNotStartedError(f"{name} was stopped before it listened")
            if time.monotonic() > give_up:
                raise ProviderNotStartedError(f"{name} printed no handshake within {seconds:g} s")
            if not selector.select(_TICK):
                continue
            byte = os.read(descriptor, 1)
            if not byte or len(line) > _LONGEST_HANDSHAKE:
                raise ProviderNotStartedError(f"{name} ended before it listened{_exit_code(child)}")
            line += byte
    return line.decode(errors="replace")


def _exit_code(child: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        return f" (exit {child.wait(_TICK)})"
    return ""
