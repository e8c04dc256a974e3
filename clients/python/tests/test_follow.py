"""What only this language has to show about streams: cancelling, closing, garbage collection. All else is in the scenarios
that every client is tested by."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from plane import Context, Control

from voicebridge import Client, EventStream
from voicebridge.control.v1 import call_pb2
from voicebridge.types.v1 import event_pb2


class Endless:
    """A stream that brings ``events`` events and then nothing, and knows whether its client is gone."""

    def __init__(self, events: int) -> None:
        self.quiet = asyncio.Event()
        self.gone = asyncio.Event()
        self._events = events

    async def __call__(
        self, _: call_pb2.StreamEventsRequest, __: Context
    ) -> AsyncIterator[call_pb2.StreamEventsResponse]:
        try:
            yield call_pb2.StreamEventsResponse(cursor="c0", keepalive_interval_ms=3_600_000)
            for sequence in range(1, self._events + 1):
                yield call_pb2.StreamEventsResponse(
                    cursor=f"c{sequence}", event=event_pb2.Event(call_id="a", sequence=sequence)
                )
            self.quiet.set()
            await asyncio.Event().wait()
        finally:
            self.gone.set()


async def read(stream: EventStream) -> list[int]:
    return [event.sequence async for event in stream]


async def read_until(stream: EventStream, last: int, reached: asyncio.Event) -> list[int]:
    sequences = []
    async for event in stream:
        sequences.append(event.sequence)
        if event.sequence == last:
            reached.set()
    return sequences


async def test_a_cancelled_task_ends_as_cancelled_and_frees_its_connection(control: Control) -> None:
    control.stream = endless = Endless(2)
    async with Client(control.url) as client:
        task = asyncio.create_task(read(client.follow("a")))
        await endless.quiet.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(endless.gone.wait(), 5)


async def test_the_users_own_deadline_is_a_timeout_error(control: Control) -> None:
    control.stream = endless = Endless(1)
    async with Client(control.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await read(client.follow("a"))
        await asyncio.wait_for(endless.gone.wait(), 5)


async def test_closing_the_client_ends_its_streams_in_order(control: Control) -> None:
    control.stream = endless = Endless(2)
    client = Client(control.url)
    reached = asyncio.Event()
    task = asyncio.create_task(read_until(client.follow("a"), 2, reached))
    await reached.wait()
    await client.close()
    assert await asyncio.wait_for(task, 5) == [1, 2]
    await asyncio.wait_for(endless.gone.wait(), 5)
    await client.close()


async def test_closing_the_client_ends_a_stream_that_waits_to_connect_again() -> None:
    waiting = asyncio.Event()

    async def for_ever(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    # Port 1 of loopback: reserved (RFC 6335), and nothing here listens on it.
    client = Client("http://127.0.0.1:1")
    task = asyncio.create_task(read(client.follow("a", sleep=for_ever)))
    await waiting.wait()
    await client.close()
    assert await asyncio.wait_for(task, 5) == []


async def test_leaving_the_loop_and_the_stream_frees_the_connection(control: Control) -> None:
    control.stream = endless = Endless(3)
    async with Client(control.url) as client:
        async with client.follow("a") as stream:
            async for event in stream:
                if event.sequence == 2:
                    break
            assert stream.cursor == "c2"
        await asyncio.wait_for(endless.gone.wait(), 5)
        assert await read(stream) == []


async def test_a_stream_closed_before_it_was_read_has_no_events(control: Control) -> None:
    control.stream = Endless(1)
    async with Client(control.url) as client:
        stream = client.follow("a")
        await stream.aclose()
        assert await read(stream) == []
        assert control.metadata == []


def test_no_attempts_at_all_is_no_number_of_attempts() -> None:
    async def follow() -> None:
        async with Client("http://127.0.0.1:1") as client:
            client.follow(max_attempts=0)

    with pytest.raises(ValueError, match="max_attempts"):
        asyncio.run(follow())
