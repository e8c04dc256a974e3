"""What every request gets on its way: the key, a deadline, and errors of our own type on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from voicebridge import command
from voicebridge.control.v1 import call_pb2
from voicebridge.errors import from_rpc

Metadata = tuple[tuple[str, str], ...]


class Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """For methods with one answer. The deadline is for requests that have none of their own; one that waits as long as it
    says may take that much longer. A command is given an id, and sent again within its deadline."""

    def __init__(self, metadata: Metadata, timeout: float) -> None:
        self._metadata = metadata
        self._timeout = timeout

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        timeout = client_call_details.timeout
        if timeout is None:
            waits_s = request.timeout_ms / 1_000 if isinstance(request, call_pb2.WaitForSessionRequest) else 0.0
            timeout = self._timeout + waits_s

        async def send(request: Any, limit_s: float | None) -> Any:
            call = await continuation(_with(client_call_details, self._metadata, limit_s), request)
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error

        if isinstance(request, call_pb2.SendCommandRequest):
            named = command.identified(request)
            return await command.send_until_answered(lambda left: send(named, left), timeout)
        return await send(request, timeout)


class Streams(grpc.aio.UnaryStreamClientInterceptor):
    """For streams read through the generated stub: the key alone, because a stream has no end to hurry to."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with(client_call_details, self._metadata, client_call_details.timeout), request)


def _with(details: grpc.aio.ClientCallDetails, more: Metadata, timeout: float | None) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), *more)
    return grpc.aio.ClientCallDetails(details.method, timeout, metadata, details.credentials, details.wait_for_ready)
