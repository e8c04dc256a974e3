"""A stream of events that resumes by itself, as the comment of ``StreamEvents`` in the contract says.

Every attempt has a connection of its own: one that died without a word would otherwise be taken for the next attempt too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import grpc

from voicebridge import resume
from voicebridge.control.v1 import call_pb2, call_pb2_grpc
from voicebridge.errors import VoiceBridgeError, from_rpc
from voicebridge.types.v1 import event_pb2

log = logging.getLogger("voicebridge")


@dataclass(frozen=True)
class Options:
    """How a stream behaves; see ``Client.follow``."""

    assumed_keepalive_s: float
    max_attempts: int | None
    on_lagged: Callable[[int], None] | None
    on_retry: Callable[[VoiceBridgeError, float], None] | None
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]


class EventStream:
    """Events in order, none lost or repeated; see ``Client.follow``. For one task at a time."""

    cursor: str
    """Everything durable up to here was handed over, the event at hand included. Give it to ``follow`` to go on from here,
    in another process or another week. Opaque, ASCII, at most 256 bytes; empty before the first response."""

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        metadata: tuple[tuple[str, str], ...],
        request: call_pb2.StreamEventsRequest,
        options: Options,
    ) -> None:
        self.cursor = request.cursor
        self._connect = connect
        self._metadata = metadata
        self._request = request
        self._options = options
        self._keepalive_s = options.assumed_keepalive_s
        self._channel: grpc.aio.Channel | None = None
        self._closing = asyncio.Event()
        self._reading = False
        self._events = self._run()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> event_pb2.Event:
        self._reading = True
        try:
            return await anext(self._events)
        except asyncio.CancelledError:
            # Either the caller's task is cancelled, or `aclose` took the connection away under a read.
            task = asyncio.current_task()
            if self._closing.is_set() and not (task and task.cancelling()):
                raise StopAsyncIteration from None
            raise
        finally:
            self._reading = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the stream: no more events, the connection is closed. A read under way in another task ends too. Idempotent."""
        self._closing.set()
        if not self._reading:
            await self._events.aclose()
        elif self._channel is not None:
            await self._channel.close()

    async def _run(self) -> AsyncGenerator[event_pb2.Event]:
        failures = 0  # since the last response that counts
        barren = 0  # connections in a row without one
        while not self._closing.is_set():
            barren += 1
            try:
                async with aclosing(self._attempt()) as responses:
                    first = True
                    async for response in responses:
                        if not first:
                            failures = barren = 0
                        first = False
                        repeated = response.cursor == self.cursor and response.event.sequence != 0
                        # Before the event is passed on: whoever keeps the cursor while holding the event has it covered.
                        self.cursor = response.cursor
                        if response.HasField("lagged") and self._options.on_lagged is not None:
                            self._options.on_lagged(response.lagged.transient_missed)
                        if response.HasField("event") and not repeated:
                            yield response.event
                if self._request.call_id or self._closing.is_set():
                    return
                raise VoiceBridgeError(grpc.StatusCode.UNAVAILABLE, "the control plane ended a stream without an end")
            except VoiceBridgeError as error:
                failures += 1
                limit = self._options.max_attempts
                if not resume.heals(error.code) or (limit is not None and barren >= limit):
                    raise
                delay = resume.delay_s(failures, self._options.random(), error.retry_delay_s)
                log.info("the event stream broke (%s), again in %.1f s", error.reason or error.code.name, delay)
                if self._options.on_retry is not None:
                    self._options.on_retry(error, delay)
            await self._pause(delay)

    async def _pause(self, delay_s: float) -> None:
        """Sleeps, unless the stream is closed meanwhile."""
        sleeping = asyncio.ensure_future(self._options.sleep(delay_s))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait((sleeping, closing), return_when=asyncio.FIRST_COMPLETED)
            if sleeping.done():
                sleeping.result()
        finally:
            sleeping.cancel()
            closing.cancel()

    async def _attempt(self) -> AsyncGenerator[call_pb2.StreamEventsResponse]:
        """Responses of one connection, until OK."""
        request = call_pb2.StreamEventsRequest()
        request.CopyFrom(self._request)
        request.cursor = self.cursor
        self._channel = channel = self._connect()
        try:
            responses = aiter(call_pb2_grpc.CallServiceStub(channel).StreamEvents(request, metadata=self._metadata))
            while True:
                patience = resume.KEEPALIVES_MISSED * self._keepalive_s
                try:
                    async with asyncio.timeout(patience):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    message = f"no response for {patience:.3g} s"
                    raise VoiceBridgeError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from None
                except grpc.aio.AioRpcError as error:
                    raise from_rpc(error) from error
                # grpcio passes on None for a message it cannot parse.
                if cast(object, response) is None:
                    raise VoiceBridgeError(grpc.StatusCode.INTERNAL, "a response is no protobuf")
                if not response.cursor:
                    # Going on from an older one would repeat something, from none lose something.
                    message = "a response has no cursor"
                    raise VoiceBridgeError(grpc.StatusCode.DATA_LOSS, message, reason="CURSOR_MISSING")
                self._keepalive_s = response.keepalive_interval_ms / 1_000 or self._keepalive_s
                yield response
        finally:
            await channel.close()
