"""Serves a `tf` provider to terraform the way that a Go provider is served. Runs in the provider's process.

`tf.runner.run_provider` is not used because a drift detector's tests need what real providers do. It keeps
its TLS key under HOME, which may be read-only, dies of the Ctrl-C that terraform's whole process group gets,
and breaks off the requests under way when terraform asks it to stop.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from tf.gen import grpc_controller_pb2 as controller_pb
from tf.gen import grpc_controller_pb2_grpc as controller_rpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_rpc
from tf.gen import tfplugin_pb2_grpc as provider_rpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tf.provider import ProviderServicer

COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
"""Terraform's way to tell a plugin that it is one (hashicorp/terraform, internal/plugin6/serve.go)."""

_SOCKET_PATH_LIMIT = 107
"""Bytes in `sockaddr_un.sun_path` on Linux, less the final zero; 103 on macOS, where TMPDIR is short."""

_ORPHAN_GRACE_SECONDS = 30.0
"""A Go provider outlives a killed terraform for ever. This one does so long enough for a test to see it."""

_ANSWER_SECONDS = 0.5
"""How long requests under way have when it ends; the request to end is one of them."""

_REQUESTS_AT_ONCE = 32
"""More than terraform's default of 10 in parallel, so that hanging requests do not block the shutdown."""


def serve(servicer: ProviderServicer, environment: Mapping[str, str]) -> int:
    """Serves until terraform says to end, and returns the exit code. Prints the handshake on stdout."""
    if environment.get(COOKIE[0]) != COOKIE[1]:
        sys.stderr.write("This is a Terraform provider: terraform starts it, a person does not.\n")
        return 1
    ended = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # terraform gets it too, and says what is to be done
    signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
    with _socket_path() as path:
        server = _server(servicer, ended)
        certificate = _listen(server, path, environment)
        server.start()
        sys.stdout.write(f"1|6|unix|{path}|grpc|{certificate}\n")
        sys.stdout.flush()
        _wait(ended)
        server.stop(_ANSWER_SECONDS).wait(_ANSWER_SECONDS)
    return 0


def _server(servicer: ProviderServicer, ended: threading.Event) -> grpc.Server:
    class Controller(controller_rpc.GRPCControllerServicer):  # type: ignore[misc]
        def Shutdown(self, _request: Any, _context: Any) -> Any:  # noqa: N802  (the protocol's name)
            ended.set()
            return controller_pb.Empty()

    class Stdio(stdio_rpc.GRPCStdioServicer):  # type: ignore[misc]
        def StreamStdio(self, _request: Any, _context: Any) -> Iterator[Any]:  # noqa: N802
            return iter(())

    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(max_workers=_REQUESTS_AT_ONCE), options=unlimited)
    provider_rpc.add_ProviderServicer_to_server(servicer, server)
    controller_rpc.add_GRPCControllerServicer_to_server(Controller(), server)
    stdio_rpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    return server


def _listen(server: grpc.Server, path: Path, environment: Mapping[str, str]) -> str:
    """Binds the socket and returns the handshake's certificate field: empty where the caller wants no TLS."""
    if not environment.get("PLUGIN_CLIENT_CERT"):
        server.add_insecure_port(f"unix:{path}")
        return ""
    key, certificate, encoded = _make_certificate()
    server.add_secure_port(f"unix:{path}", grpc.ssl_server_credentials([(key, certificate)]))
    return encoded


def _make_certificate() -> tuple[bytes, bytes, str]:
    """Returns a key and a certificate as PEM and the certificate as the handshake wants it. Kept nowhere.

    The client's certificate is not asked for: it is on P-521, which gRPC's TLS library refuses. The socket
    is in a directory of mode 0700.
    """
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
    return private, certificate.public_bytes(serialization.Encoding.PEM), der


@contextlib.contextmanager
def _socket_path() -> Iterator[Path]:
    """A path for the socket in a directory of our own under TMPDIR, or /tmp where that name is too long."""
    directory = Path(tempfile.mkdtemp(prefix="sandbox-"))
    if len(os.fsencode(directory / "plugin")) > _SOCKET_PATH_LIMIT:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/tmp"))
    try:
        yield directory / "plugin"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait(ended: threading.Event) -> None:
    """Returns when the provider was told to end, or a while after terraform is gone."""
    parent = os.getppid()
    while not ended.wait(1.0):
        if os.getppid() != parent:
            ended.wait(_ORPHAN_GRACE_SECONDS)
            return
