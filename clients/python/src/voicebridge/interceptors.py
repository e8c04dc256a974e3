"""What every request gets on its way: the key, a deadline, and errors of our own type on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from voicebridge.errors import from_rpc

Metadata = tuple[tuple[str, str], ...]


class Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """For methods with one answer. The deadline is for requests that have none of their own."""

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
        details = _with(client_call_details, self._metadata, self._timeout if timeout is None else timeout)
        call = await continuation(details, request)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error


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
