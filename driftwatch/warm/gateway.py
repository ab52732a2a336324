"""Stands between one terraform and its providers for the time of a plan, and writes down what they say.

    terraform ── Unix socket of a provider ──▶ accept, check the peer ──▶ splice ──▶ gRPC server of that one
    connection ──▶ provider process of the pool

terraform is told by TF_REATTACH_PROVIDERS that its providers run already. All configurations of a provider
dial one address, a connection each; only the connection tells them apart, and gRPC does not show it to a
server. So each connection gets a server of its own, and with it, once it configures, a provider process.

Everything passes as the bytes that it is. Read are only names of calls, and whether an answer is an error.
Nothing here decides about a plan: what went wrong on the way is in `faults`, for the caller to plan again
without a gateway. Applies never come through here.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc

from driftwatch.errors import PoolUnavailableError, ProviderLostError, WarmError
from driftwatch.log import redact
from driftwatch.warm import wire
from driftwatch.warm.location import Surroundings, is_independent, is_stateless
from driftwatch.warm.recording import Conversation, Read, Recording

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from driftwatch.warm.packages import Selection
    from driftwatch.warm.pool import Key, Pool
    from driftwatch.warm.process import ProviderProcess

_CHUNK = 1 << 18
_BACKLOG = 64
_CLOSE_SECONDS = 2.0
_CONFIGURE_SECONDS = 120.0
"""For configuring once more what terraform has configured already, in its own time."""

_TRANSPORT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Said by gRPC where a provider is gone or a message cannot pass. A provider's own errors are UNKNOWN."""

_SERVING = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse: status SERVING."""

_HARMLESS = frozenset(
    {
        *wire.PURE,
        *wire.CONFIGURE,
        *wire.READS,
        "UpgradeResourceState",
        "UpgradeResourceIdentity",
        "PlanResourceChange",
        "CallFunction",
    }
)
"""Calls that a replay need not make again: they are functions of their requests, or it does make them."""

_OF_THE_MACHINE = frozenset({"pool_full", "pool_unavailable", "no_connection", "strange_peer", "killed"})
"""Codes of faults that are nobody's: too little room, or somebody who kills processes."""

_UNSEEN = {
    "OpenEphemeralResource": "ephemeral",
    "RenewEphemeralResource": "ephemeral",
    "CloseEphemeralResource": "ephemeral",
    "ImportResourceState": "pending_import",
    "MoveResourceState": "pending_import",
    "Stop": "stopped",
    "StopProvider": "stopped",
}
"""Calls after which a recording is none, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something on the way between terraform and a provider: `code` is an error's code or a status."""

    provider: str
    code: str
    message: str

    @property
    def passes(self) -> bool:
        """Whether it says nothing of the provider."""
        return self.code in _OF_THE_MACHINE


@dataclass(slots=True)
class _Notes:
    """What comes of all connections together."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    faults: list[Fault] = field(default_factory=list)
    unusable: dict[str, None] = field(default_factory=dict)
    types: set[str] = field(default_factory=set)
    recorded: int = 0

    def fault(self, provider: str, code: str, message: str) -> None:
        with self.lock:
            self.faults.append(Fault(provider=provider, code=code, message=redact(message)[:500]))
            self.unusable["fault"] = None

    def refuse(self, reason: str) -> None:
        with self.lock:
            self.unusable[reason] = None

    def grow(self, size: int, limit: int) -> bool:
        """Counts what a recording holds; False from when on it is too much."""
        with self.lock:
            self.recorded += size
            if self.recorded > limit:
                self.unusable["recording_too_large"] = None
            return self.recorded <= limit


class Gateway:
    """One plan's. Use as a context manager around plan *and* show; sockets and leases end with it."""

    def __init__(
        self,
        pool: Pool,
        selection: Selection,
        *,
        environment: Mapping[str, str],
        directory: Path,
        stop: threading.Event,
        parallelism: int = 10,
        recording_limit: int = 64 << 20,
        types: Collection[str] | None = None,
    ) -> None:
        """For one plan, of which nothing is started yet.

        `types` are all that the stack uses, as `Gateway.types` of an earlier plan of the same files said:
        terraform then gets schemas for these alone. One too few is an error of terraform's, and `is_trimmed`
        says that it may come from here.

        `directory` is where terraform works, `environment` what a provider that it starts would have.

        `environment` is part of a process' identity: see `Pool.environment`.
        """
        self._pool = pool
        self._notes = _Notes()
        self._stack = ExitStack()
        self._is_trimmed = types is not None
        self.environment = pool.identity(environment)
        """Whose processes these are: see `Key.environment`."""
        if selection.left_out:
            self._notes.refuse("unwatched_provider")
        self._providers = {
            address: _Provider(
                pool=pool,
                key=pool.key(package, environment, directory),
                environment=dict(environment),
                directory=directory,
                stop=stop,
                notes=self._notes,
                workers=parallelism + 8,
                limit=recording_limit,
                types=None if types is None else frozenset(types),
            )
            for address, package in selection.packages.items()
        }

    def __enter__(self) -> Self:
        """Raises PoolUnavailableError where its sockets cannot be made, and what starting a provider may."""
        try:
            place = self._stack.enter_context(_socket_directory(self._pool.directory))
            for index, provider in enumerate(self._providers.values()):
                self._stack.callback(provider.close)
                provider.listen(place, str(index))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reattach(self) -> str:
        """The value of TF_REATTACH_PROVIDERS. With `Test` terraform does not end the provider at its end."""
        return json.dumps(
            {
                address: {
                    "Protocol": "grpc",
                    "ProtocolVersion": provider.protocol,
                    "Pid": os.getpid(),
                    "Test": True,
                    "Addr": {"Network": "unix", "String": str(provider.address)},
                }
                for address, provider in self._providers.items()
            }
        )

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What went wrong on the way. With any of these a failed plan says nothing of the stack."""
        with self._notes.lock:
            return tuple(self._notes.faults)

    @property
    def is_trimmed(self) -> bool:
        """Whether terraform got less than whole schemas; a plan that then fails says nothing of the stack."""
        return self._is_trimmed

    @property
    def types(self) -> frozenset[str]:
        """The types of resources and data sources that terraform asked for anything about."""
        with self._notes.lock:
            return frozenset(self._notes.types)

    def recording(self) -> Recording:
        """What was said so far; ask when terraform has ended."""
        conversations = [found for provider in self._providers.values() for found in provider.conversations()]
        with self._notes.lock:
            unusable = tuple(sorted(self._notes.unusable))
        return Recording(conversations=() if unusable else tuple(conversations), unusable=unusable)


class _Provider:
    """All connections to one provider, and the processes that this plan has of it."""

    def __init__(
        self,
        *,
        pool: Pool,
        key: Key,
        environment: dict[str, str],
        directory: Path,
        stop: threading.Event,
        notes: _Notes,
        workers: int,
        limit: int,
        types: frozenset[str] | None,
    ) -> None:
        self.types = types
        self.pool = pool
        self.key = key
        self.environment = environment
        self.notes = notes
        self.workers = workers
        self.limit = limit
        self.name = key.package.address
        self.asked_again = wire.READS if is_stateless(self.name) else wire.READS | {wire.PLAN}
        self._stop = stop
        self._directory = directory
        self._surroundings = Surroundings(directory) if key.directory is None else None
        self._connections: list[_Connection] = []
        self._taken: list[tuple[ProviderProcess, Key]] = []
        self._bound: list[ProviderProcess] = []
        self._lock = threading.RLock()
        self._closed = False
        self._listener: socket.socket | None = None
        self.protocol = 0
        self.address = Path()

    def listen(self, directory: Path, name: str) -> None:
        """Makes the socket, and learns the protocol if need be by starting a process."""
        self.protocol = self.pool.protocol(self.key.package) or self.spare(self.key).protocol
        self.address = directory / name
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.address))
        self._listener.listen(_BACKLOG)
        threading.Thread(target=self._accept, name="gateway-accept", daemon=True).start()

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            if not _is_ours(peer):
                peer.close()
                self.notes.fault(self.name, "strange_peer", "somebody else connected to a gateway's socket")
                continue
            try:
                self._serve(peer)
            except (OSError, RuntimeError) as problem:  # no more descriptors or threads
                peer.close()
                self.notes.fault(self.name, "no_connection", str(problem))

    def _serve(self, peer: socket.socket) -> None:
        with self._lock:
            if self._closed:
                peer.close()
                return
            inner = self.address.with_name(f"{self.address.name}.{len(self._connections)}")
            self._connections.append(_Connection(self, peer, inner))

    def spare(self, key: Key) -> ProviderProcess:
        """A process for calls to which no configuration matters: any that this plan has there."""
        with self._lock:
            for process, place in self._taken:
                if place == key and process.is_usable:
                    return process
            process = self.pool.take(key, self.environment, any_configuration=True, stop=self._stop)
            self._keep(process, key)
            return process

    def process_for(self, configure: bytes, key: Key) -> ProviderProcess:
        """A process of one connection's own, to be configured so."""
        with self._lock:
            for process, place in self._taken:
                fits = place == key and process.configured in (None, configure)
                if fits and process.is_usable and process not in self._bound:
                    self._bound.append(process)
                    return process
        process = self.pool.take(key, self.environment, configured=configure, stop=self._stop)
        with self._lock:
            self._keep(process, key)
            self._bound.append(process)
        return process

    def _keep(self, process: ProviderProcess, key: Key) -> None:
        """Notes what must be given back at the end, unless that has been."""
        if self._closed:
            self.pool.give_back(process)
            raise PoolUnavailableError("the plan has ended")
        self._taken.append((process, key))

    def key_for(self, request: bytes, key: Key) -> Key:
        """Where a process must run to be sent `request`: in terraform's directory, if that names a path."""
        if self._surroundings is None or key.directory is not None:
            return key
        return (
            self.pool.bind(key, self._directory) if self._surroundings.are_named_in_request(request) else key
        )

    def conversations(self) -> Iterator[Conversation]:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            if (found := connection.conversation()) is not None:
                yield found

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connections = list(self._connections)
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for connection in connections:
            connection.close()
        with self._lock:
            taken, self._taken, self._bound = self._taken, [], []
        for process, _ in taken:
            self.pool.give_back(process)


class _Connection(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """One connection of terraform's: its gRPC server, its provider process once it has configured one."""

    def __init__(self, provider: _Provider, peer: socket.socket, inner: Path) -> None:
        self._provider = provider
        self._notes = provider.notes
        self._process: ProviderProcess | None = None
        self._key = provider.key
        self._configure: tuple[str, bytes] | None = None
        self._reads: list[Read] = []
        self._under_way = 0
        self._lock = threading.Lock()
        self._move = threading.Lock()
        limit = provider.pool.limits.message_mb << 20
        self._executor = ThreadPoolExecutor(provider.workers, thread_name_prefix="gateway-call")
        self._server = grpc.server(
            self._executor,
            handlers=[self],
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),
            ],
        )
        self._server.add_insecure_port(f"unix:{inner}")
        self._server.start()
        self._splice = _Splice(peer, inner)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        method = handler_call_details.method
        service, _, name = method.lstrip("/").partition("/")
        if service == "grpc.health.v1.Health":
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: _SERVING)
        if service == "plugin.GRPCController":
            # terraform says so at its end; who ends a process is the pool.
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
        if service == "plugin.GRPCStdio":
            return grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(()))
        if not service.startswith("tfplugin"):
            return None
        if name not in wire.UNARY:
            self._notes.refuse(_UNSEEN.get(name, "unknown_call"))
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._stream(method, requests, context)
            )
        if name not in _HARMLESS:
            self._notes.refuse(_UNSEEN.get(name, "unknown_call"))
        if name == "CallFunction" and not is_independent(self._provider.name):
            self._notes.refuse("provider_function")
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._answer(method, name, request, context)
        )

    def _answer(self, method: str, name: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        if name in wire.TYPED:
            self._notes.types.add(wire.type_name(request))
        if name in wire.PURE:
            return self._answer_pure(method, name, request, context)
        with self._or_fault(context):
            process = self._process_for(method, name, request)
        if process is None:
            return b""
        response = self._forward(process, method, request, context)
        if name in self._provider.asked_again:
            self._record(method, name, request, response)
        elif name in wire.CONFIGURE and not _is_good(response, wire.CONFIGURE_DIAGNOSTICS):
            process.spoil("not_configured")
            self._notes.refuse("errors")
        return response

    def _answer_pure(self, method: str, name: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        provider, answers = self._provider, self._provider.pool.answers
        with self._or_fault(context):
            key = self._key if name in wire.OF_THE_BINARY else provider.key_for(request, self._key)
            known = answers.recall(key, method, request)
            if known is None:
                own = self._process if key == self._key else None
                process = own or provider.spare(key)
        if known is None:
            known = self._forward(process, method, request, context)
            answers.remember(key, method, request, known)
        if provider.types is None or name not in wire.SCHEMA:
            return known
        return wire.trim_schema(known, provider.types)

    @contextmanager
    def _or_fault(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Notes what keeps a call from its process, and tells terraform that its provider is not there."""
        try:
            yield
        except (WarmError, wire.MalformedMessageError) as problem:
            code = problem.code if isinstance(problem, WarmError) else "malformed"
            self._notes.fault(self._provider.name, code, str(problem))
            context.abort(grpc.StatusCode.UNAVAILABLE, str(problem))

    def _process_for(self, method: str, name: str, request: bytes) -> ProviderProcess | None:
        """The process that this call goes to; None where there is none and need not be."""
        if name in wire.CONFIGURE:
            return self._bind(method, request)
        if name in wire.STOP:
            return self._stopped()
        if self._process is None:
            if name in wire.READS:  # a spare process may have been configured by somebody else
                raise ProviderLostError(f"{self._provider.name} was asked to read before it was configured")
            return self._provider.spare(self._provider.key_for(request, self._key))
        self._relocate(request)
        return self._process

    def _bind(self, method: str, request: bytes) -> ProviderProcess:
        with self._move:
            if self._configure is not None and self._configure[1] != request:
                self._notes.refuse("reconfigured")
            if self._process is None or self._process.configured != request:
                self._key = self._provider.key_for(request, self._provider.key)
                self._process = self._provider.process_for(request, self._key)
            self._configure = (method, request)
            self._process.configured = request
            return self._process

    def _relocate(self, request: bytes) -> None:
        """Moves to a process in terraform's own directory, where a request names a path in it."""
        key = self._provider.key_for(request, self._key)
        if key == self._key:
            return
        with self._move:
            if key == self._key or self._configure is None:
                return
            method, configure = self._configure
            process = self._provider.process_for(configure, key)
            process.configured = configure
            try:
                with self._counted():
                    answer = process.call(method)(configure, timeout=_CONFIGURE_SECONDS)
            except grpc.RpcError as problem:
                process.spoil("lost")
                raise _lost(self._provider.name, problem) from problem
            if not _is_good(answer, wire.CONFIGURE_DIAGNOSTICS):
                process.spoil("not_configured")
                raise ProviderLostError(f"{self._provider.name} cannot be configured a second time")
            self._process, self._key = process, key

    def _stopped(self) -> ProviderProcess | None:
        """A stopped SDK provider stays stopped: nobody may get this one after us."""
        if self._process is not None:
            self._process.spoil("stopped")
        return self._process

    def _forward(
        self, process: ProviderProcess, method: str, request: bytes, context: grpc.ServicerContext
    ) -> bytes:
        with self._counted():
            call = process.call(method).future(request)
            if not context.add_callback(lambda: _cancel(call)):
                call.cancel()
            try:
                return call.result()
            except grpc.FutureCancelledError:
                process.spoil("cancelled")
                context.abort(grpc.StatusCode.CANCELLED, "cancelled")
                raise
            except grpc.RpcError as problem:
                self._failed(process, problem)
                context.abort(problem.code(), problem.details() or "")
                raise

    def _failed(self, process: ProviderProcess, problem: grpc.RpcError) -> None:
        code = problem.code()
        if code in _TRANSPORT:
            process.spoil("lost")
            said = process.last_words[-300:]
            word = "killed" if process.was_killed else code.name.lower()
            self._notes.fault(self._provider.name, word, f"{problem.details()} {said}".strip())
        elif code is not grpc.StatusCode.UNIMPLEMENTED:
            self._notes.refuse("errors")

    def _stream(
        self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        process = self._process or self._provider.spare(self._key)
        with self._counted():
            call = _streaming(process, method)(requests)
            if not context.add_callback(lambda: _cancel(call)):
                call.cancel()
            try:
                yield from call
            except grpc.RpcError as problem:
                self._failed(process, problem)
                context.abort(problem.code(), problem.details() or "")

    def _record(self, method: str, name: str, request: bytes, response: bytes) -> None:
        if not self._notes.grow(len(request) + len(response), self._provider.limit):
            self._reads.clear()
            return
        if not _is_good(response, wire.DIAGNOSTICS[name]):
            self._notes.refuse("errors")
        elif wire.is_deferred(name, response):
            self._notes.refuse("deferred")
        self._reads.append(Read(method=method, request=request, response=response))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """A call that is under way, as long as this is entered."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def conversation(self) -> Conversation | None:
        if self._configure is None:
            return None
        method, configure = self._configure
        return Conversation(
            key=self._key,
            environment=self._provider.environment,
            configure_method=method,
            configure=configure,
            reads=tuple(self._reads),
        )

    def close(self) -> None:
        with self._lock:
            busy = self._under_way > 0
        if busy and self._process is not None:
            self._process.spoil("abandoned")
        self._splice.close()
        self._server.stop(0).wait(_CLOSE_SECONDS)
        self._executor.shutdown(wait=False, cancel_futures=True)


def _streaming(process: ProviderProcess, method: str) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
    return process.channel.stream_stream(method)


def _cancel(call: grpc.Future[bytes] | grpc.RpcContext) -> None:
    call.cancel()


def _is_good(response: bytes, diagnostics: int) -> bool:
    try:
        return not wire.errors(response, diagnostics)
    except wire.MalformedMessageError:
        return False


def _lost(provider: str, problem: grpc.RpcError) -> ProviderLostError:
    return ProviderLostError(f"{provider} was lost: {redact(problem.details() or problem.code().name)}")


class _Splice:
    """Carries bytes between two sockets, both ways, until either side ends."""

    def __init__(self, peer: socket.socket, inner: Path) -> None:
        self._peer = peer
        self._inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._inner.connect(str(inner))
        self._left = 2
        self._lock = threading.Lock()
        for source, target in ((peer, self._inner), (self._inner, peer)):
            threading.Thread(
                target=self._carry, args=(source, target), name="gateway-splice", daemon=True
            ).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        buffer = memoryview(bytearray(_CHUNK))
        with suppress(OSError):
            while count := source.recv_into(buffer):
                target.sendall(buffer[:count])
        self.close()
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._peer.close()
            self._inner.close()

    def close(self) -> None:
        """Ends both; they are closed when nobody reads from them any more."""
        for each in (self._peer, self._inner):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _is_ours(peer: socket.socket) -> bool:
    """Whether the process at the other end is of our user.

    Where the system cannot say, the mode of the directory, 0700, stands alone.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(uid == os.getuid())


@contextmanager
def _socket_directory(parent: Path) -> Iterator[Path]:
    """A fresh directory for sockets inside of the pool's, which only its owner may enter."""
    try:
        made = Path(tempfile.mkdtemp(prefix="g", dir=parent))
    except OSError as problem:
        raise PoolUnavailableError(
            f"the gateway's sockets cannot be made in {parent}: {problem.strerror}"
        ) from problem
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
