"""A provider that answers every call, of whatever name and shape, with what it was sent, twice."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    def service(self, handler_call_details: Any) -> Any:
        if "Read" in handler_call_details.method:
            return grpc.unary_unary_rpc_method_handler(lambda request, _: request)
        return grpc.stream_stream_rpc_method_handler(self.twice)

    @staticmethod
    def twice(requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
        for request in requests:
            yield request
            yield request


if __name__ == "__main__":
    path = f"{os.environ['TMPDIR']}/echo{os.getpid()}"
    server = grpc.server(ThreadPoolExecutor(8), handlers=[Echo()])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    sys.stdout.write(f"1|6|unix|{path}|grpc|\n")
    sys.stdout.flush()
    threading.Event().wait()
