"""The client: generated stubs with key, deadline and typed errors on them, and the stream that resumes by itself."""

from __future__ import annotations

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self
from weakref import WeakSet

from voicebridge.control.v1 import call_pb2, call_pb2_grpc, keys_pb2_grpc, node_pb2_grpc, server_pb2_grpc
from voicebridge.endpoint import Endpoint
from voicebridge.errors import VoiceBridgeError
from voicebridge.follow import EventStream, Options
from voicebridge.interceptors import Streams, Unary
from voicebridge.local import local_key
from voicebridge.types.v1 import event_pb2

TIMEOUT_S = 10.0
"""How long a request may take, in seconds, unless ``Client`` is told otherwise."""
ASSUMED_KEEPALIVE_S = 15.0
"""How often a stream is taken to bring something, in seconds, until the control plane says how often it does."""


class Client:
    """A control plane, seen from outside.

    ``url`` is ``http://host:port`` or, with TLS, ``https://host``. ``api_key`` is one of the control plane's keys or a read
    token; without any, a control plane on this machine is shown the local key of its user, which is what one wants that was
    given no other, and no other machine is shown any. ``timeout`` is the deadline of a
    request in seconds, connecting included; a single request may have another: ``client.calls.GetCall(..., timeout=2)``.
    ``root_certificates`` (PEM) replace the usual authorities for https.

    To be made and used in one event loop, best as a context manager. Connects when first used.

    Raises ``ValueError`` if the URL is not one, ``OSError`` if a local key cannot be read. Every request raises
    ``VoiceBridgeError`` if it fails.
    """

    calls: call_pb2_grpc.CallServiceAsyncStub
    """Start, steer, end and look up calls: ``await client.calls.GetCall(GetCallRequest(call_id=...))``. A command without a
    ``command_id`` is given one, and is sent again within its deadline when it is not answered: the call takes it once."""
    keys: keys_pb2_grpc.KeyServiceAsyncStub
    """Make and revoke API keys; wants scope ``admin``."""
    fleet: node_pb2_grpc.FleetServiceAsyncStub
    """See and drain media nodes; wants scope ``nodes``."""
    server: server_pb2_grpc.ServerServiceAsyncStub
    """Which contract and program the control plane is."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT_S,
        root_certificates: bytes | None = None,
    ) -> None:
        self._endpoint = Endpoint.parse(url, root_certificates)
        api_key = api_key or local_key(url)
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout = timeout
        self._streams: WeakSet[EventStream] = WeakSet()
        self._channel = self._endpoint.channel([Unary(self._metadata, timeout), Streams(self._metadata)])
        self.calls = call_pb2_grpc.CallServiceStub(self._channel)
        self.keys = keys_pb2_grpc.KeyServiceStub(self._channel)
        self.fleet = node_pb2_grpc.FleetServiceStub(self._channel)
        self.server = server_pb2_grpc.ServerServiceStub(self._channel)

    def follow(
        self,
        call_id: str = "",
        *,
        kinds: Iterable[event_pb2.EventKind.ValueType] = (),
        phone_number_ids: Iterable[str] = (),
        caller_phone_numbers: Iterable[str] = (),
        cursor: str = "",
        start: call_pb2.StreamStart.ValueType = call_pb2.STREAM_START_UNSPECIFIED,
        max_attempts: int | None = None,
        assumed_keepalive: float = ASSUMED_KEEPALIVE_S,
        on_lagged: Callable[[int], None] | None = None,
        on_retry: Callable[[VoiceBridgeError, float], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> EventStream:
        """Events of one call, or of all calls: those stored after a point, then live ones.

        Iterate over it: ``async for event in client.follow(call_id)``. Whatever breaks in between, nothing durable is lost
        or repeated: it connects again by itself at the last cursor, after a delay. For one call it ends after the call's
        last event; over all calls it does not end. What does not heal (a wrong key, an unknown call, a cursor that is none)
        ends it with ``VoiceBridgeError``; cancelling the task, or leaving an ``asyncio.timeout``, ends it with that.

        ``kinds``, ``phone_number_ids`` and ``caller_phone_numbers`` filter, each of them at most 64; ``cursor`` goes on from
        ``EventStream.cursor`` of an earlier stream for the same ``call_id``; ``start`` says where to begin without one.

        ``max_attempts`` connections in a row that bring no more than their first response end it with the last error; None
        tries for ever. A connection that brings nothing for three times the control plane's keepalive interval is given up;
        ``assumed_keepalive`` seconds stand for that interval until it is told. ``on_lagged`` is told how many transient
        events were left out because this side reads too slowly, before what comes after them; ``on_retry`` why it will
        connect again, and after how many seconds. ``sleep`` and ``random`` (0 to 1) are there for tests.
        """
        if max_attempts is not None and max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")
        request = call_pb2.StreamEventsRequest(
            call_id=call_id,
            cursor=cursor,
            start=start,
            kinds=kinds,
            phone_number_ids=phone_number_ids,
            caller_phone_numbers=caller_phone_numbers,
        )
        options = Options(assumed_keepalive, max_attempts, on_lagged, on_retry, sleep, random)
        stream = EventStream(self._endpoint.channel, self._metadata, request, options)
        self._streams.add(stream)
        return stream

    async def close(self) -> None:
        """Ends all streams and closes the connection. Idempotent."""
        for stream in tuple(self._streams):
            await stream.aclose()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
