"""A control plane in this process that answers as a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from voicebridge.control.v1 import call_pb2

Context = grpc.aio.ServicerContext[Any, Any]
Get = Callable[[call_pb2.GetCallRequest, Context], Awaitable[call_pb2.GetCallResponse]]
Command = Callable[[call_pb2.SendCommandRequest, Context], Awaitable[call_pb2.SendCommandResponse]]
Wait = Callable[[call_pb2.WaitForSessionRequest, Context], Awaitable[call_pb2.WaitForSessionResponse]]
Stream = Callable[[call_pb2.StreamEventsRequest, Context], AsyncIterator[call_pb2.StreamEventsResponse]]


@dataclass
class Control:
    """What it is asked is in ``metadata``; what it answers, ``get``, ``wait``, ``command``, ``stream``. There is no more."""

    url: str = ""
    get: Get | None = None
    wait: Wait | None = None
    stream: Stream | None = None
    command: Command | None = None
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> grpc.aio.Server:
        server = grpc.aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetCall": grpc.unary_unary_rpc_method_handler(
                self._get, call_pb2.GetCallRequest.FromString, call_pb2.GetCallResponse.SerializeToString
            ),
            "WaitForSession": grpc.unary_unary_rpc_method_handler(
                self._wait, call_pb2.WaitForSessionRequest.FromString, call_pb2.WaitForSessionResponse.SerializeToString
            ),
            "SendCommand": grpc.unary_unary_rpc_method_handler(
                self._command,
                call_pb2.SendCommandRequest.FromString,
                call_pb2.SendCommandResponse.SerializeToString,
            ),
            "StreamEvents": grpc.unary_stream_rpc_method_handler(
                self._stream, call_pb2.StreamEventsRequest.FromString, call_pb2.StreamEventsResponse.SerializeToString
            ),
        }
        service = call_pb2.DESCRIPTOR.services_by_name["CallService"].full_name
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        if credentials is None:
            self.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        else:
            self.url = f"https://localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
        await server.start()
        return server

    async def _get(self, request: call_pb2.GetCallRequest, context: Context) -> call_pb2.GetCallResponse:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        assert self.get is not None
        return await self.get(request, context)

    async def _wait(self, request: call_pb2.WaitForSessionRequest, context: Context) -> call_pb2.WaitForSessionResponse:
        assert self.wait is not None
        return await self.wait(request, context)

    async def _command(self, request: call_pb2.SendCommandRequest, context: Context) -> call_pb2.SendCommandResponse:
        assert self.command is not None
        return await self.command(request, context)

    async def _stream(
        self, request: call_pb2.StreamEventsRequest, context: Context
    ) -> AsyncIterator[call_pb2.StreamEventsResponse]:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        assert self.stream is not None
        async for response in self.stream(request, context):
            yield response
