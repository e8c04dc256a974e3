"""Against real planes (tests/clients/README.md, the stage): a call with audio both ways, and requests that are refused."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from programs import post, running

from voicebridge import Client, Event, GetCallRequest, StreamStart, VoiceBridgeError

CALL_S = 120
KILLED = {"by": "kill"}


class Stage:
    """The whole system, and means to disturb it."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self._url = ready["url"]
        self.control_url: str = ready["control_url"]
        self.api_key: str = ready["api_key"]

    async def asks(self, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(post, self._url + path, body)

    async def stored(self, call_id: str) -> list[Event]:
        answer = await self.asks("/events", {"call_id": call_id})
        return [Event.FromString(base64.b64decode(event)) for event in answer["events"]]

    def client(self) -> Client:
        return Client(self.control_url, api_key=self.api_key)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with running("voicebridge-stage") as ready:
        yield Stage(ready)


async def ended_call(stage: Stage) -> str:
    """The id of a call that somebody made and gave up at once."""
    call: dict[str, str] = await stage.asks("/call")
    await stage.asks("/hang-up", call)
    await stage.asks("/record", call)
    return call["call_id"]


async def test_a_call_is_followed_from_start_to_end_through_a_cut_and_a_restart(stage: Stage) -> None:
    call = await stage.asks("/call")
    about = {"call_id": call["call_id"]}
    # At each transcript, in turn: the greeting, the question, the answer.
    disturbances = iter([("/cut", None), ("/restart", KILLED), ("/hang-up", about)])
    events: list[Event] = []
    broken: list[VoiceBridgeError] = []
    async with asyncio.timeout(CALL_S), asyncio.TaskGroup() as disturbing, stage.client() as client:
        async for event in client.follow(call["call_id"], on_retry=lambda error, _: broken.append(error)):
            events.append(event)
            if event.HasField("transcript"):
                disturbing.create_task(stage.asks(*next(disturbances)))
    record = await stage.asks("/record", about)

    assert next(disturbances, None) is None
    assert len(broken) >= 2, "cut off twice, at least"
    assert record == {
        "heard": ["welcome", "open-from-nine"],
        "understood": ["opening-hours"],
        "violations": [],
        "reason": "USER_HANGUP",
    }
    assert [event for event in events if event.sequence] == await stage.stored(call["call_id"])
    assert events[-1].HasField("call_ended")


async def test_all_calls_are_followed_from_a_cursor_of_before(stage: Stage) -> None:
    async with asyncio.timeout(CALL_S), stage.client() as client:
        async with client.follow(start=StreamStart.STREAM_START_OLDEST) as stream:
            first = await ended_call(stage)
            async for event in stream:
                if event.call_id == first and event.HasField("call_ended"):
                    break
        second = await ended_call(stage)
        later: list[Event] = []
        async for event in client.follow(cursor=stream.cursor):
            later.append(event)
            if event.HasField("call_ended"):
                break
    assert [event for event in later if event.sequence] == await stage.stored(second)


async def test_what_is_refused_is_one_error_with_a_reason_and_a_next_step(stage: Stage) -> None:
    known, other = await ended_call(stage), await ended_call(stage)
    long_id = "w" * 10_240

    async def follow(call_id: str, cursor: str = "") -> str:
        stream = client.follow(call_id, cursor=cursor)
        async for _ in stream:
            pass
        return stream.cursor

    async def refused(request: Any, code: grpc.StatusCode, reason: str) -> None:
        with pytest.raises(VoiceBridgeError) as error:
            await request
        assert (error.value.code, error.value.reason) == (code, reason)
        assert f"docs/errors/{reason}.md" in str(error.value)

    async with asyncio.timeout(CALL_S), stage.client() as client:
        cursor = await follow(known)
        assert await follow(known, cursor) == cursor
        await refused(follow(other, cursor), grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID")
        await refused(follow(other, "nonsense"), grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID")
        await refused(follow("wacid.nobody"), grpc.StatusCode.NOT_FOUND, "CALL_NOT_FOUND")
        await refused(follow(long_id), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        get = client.calls.GetCall(GetCallRequest(call_id="wacid.nobody"))
        await refused(get, grpc.StatusCode.NOT_FOUND, "CALL_NOT_FOUND")
        get = client.calls.GetCall(GetCallRequest(call_id=long_id))
        await refused(get, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    async with asyncio.timeout(CALL_S), Client(stage.control_url, api_key="another key") as client:
        await refused(follow(known), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        get = client.calls.GetCall(GetCallRequest(call_id=known))
        await refused(get, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
