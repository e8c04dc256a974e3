"""The scenarios that the clients of every language are tested by (tests/clients/README.md): what happens to a stream, and
what a client that resumes by itself makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest
from programs import REPOSITORY, post, running

from voicebridge import Client, Event, EventKind, EventStream, StreamStart, VoiceBridgeError
from voicebridge.endpoint import Endpoint

SCENARIOS = sorted((REPOSITORY / "tests/clients/scenarios").glob("*.json"))
HANGS_S = 30


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running("voicebridge-scenarios") as ready:
        yield ready["url"]


class Telling(grpc.aio.UnaryStreamClientInterceptor):
    """Tells the scenario server how many responses were taken, for grpcio drops those that were not when a connection
    breaks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._responses = 0

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return self._told(await continuation(client_call_details, request))

    async def _told(self, responses: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for response in responses:
            yield response
            # The next one is asked for: this one has been dealt with.
            self._responses += 1
            await asyncio.to_thread(post, self._url, {"responses": self._responses})


plain_channel = Endpoint.channel


class Notes:
    """What the user of a stream would see of it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.delivered: list[str] = []
        self.delays_ms: list[float] = []
        self.end: object = "complete"
        self.random = cycle(settings.get("random", [0.5]))
        self.cancel_after: int | None = settings.get("cancel_after")
        self.enough = asyncio.Event()

    def _note(self, line: str) -> None:
        self.delivered.append(line)
        if len(self.delivered) == self.cancel_after:
            self.enough.set()

    def lagged(self, transient_missed: int) -> None:
        self._note(f"lagged {transient_missed}")

    def event(self, event: Event) -> None:
        number = Event.DESCRIPTOR.fields_by_name[kind].number if (kind := event.WhichOneof("kind")) else 0
        name = EventKind.Name(EventKind.ValueType(number)).removeprefix("EVENT_KIND_")
        self._note(f"event {event.call_id} {event.sequence} {name}")

    async def sleep(self, delay_s: float) -> None:
        self.delays_ms.append(delay_s * 1_000)

    async def read(self, stream: EventStream, deadline_s: float | None) -> None:
        async with asyncio.timeout(deadline_s):
            async for event in stream:
                self.event(event)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
async def test_scenario(path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = json.loads(path.read_text())
    settings = scenario.get("settings", {})
    run = await asyncio.to_thread(post, f"{server}/runs", {"scenario": path.stem, "tells_taken": True})
    tell = Telling(f"{server}/runs/{run['run']}/taken")
    monkeypatch.setattr(Endpoint, "channel", lambda self, more=(): plain_channel(self, [*more, tell]))
    request = dict(scenario.get("request", {}))
    request["kinds"] = [EventKind.Value(f"EVENT_KIND_{kind}") for kind in request.get("kinds", [])]
    if "start" in request:
        request["start"] = StreamStart.Value(f"STREAM_START_{request['start']}")
    if "assumed_keepalive_ms" in settings:
        request["assumed_keepalive"] = settings["assumed_keepalive_ms"] / 1_000
    notes = Notes(settings)
    async with Client(run["url"], api_key=run["api_key"]) as client:
        stream = client.follow(
            **request,
            max_attempts=settings.get("max_attempts"),
            on_lagged=notes.lagged,
            sleep=notes.sleep,
            random=lambda: next(notes.random),
        )
        await asyncio.wait_for(play(stream, notes, settings.get("deadline_ms")), HANGS_S)
    report = await asyncio.to_thread(post, f"{server}/runs/{run['run']}/end")

    assert report["violations"] == []
    assert notes.delivered == scenario["delivered"]
    assert notes.end == scenario["end"]
    assert stream.cursor == scenario["cursor"]
    assert notes.delays_ms == pytest.approx(scenario["delays_ms"])
    assert report["connections"] == len(scenario["connections"])


async def play(stream: EventStream, notes: Notes, deadline_ms: float | None) -> None:
    """Reads until the end, and cancels where the scenario says so."""
    reading = asyncio.create_task(notes.read(stream, deadline_ms and deadline_ms / 1_000))
    enough = asyncio.create_task(notes.enough.wait())
    await asyncio.wait((reading, enough), return_when=asyncio.FIRST_COMPLETED)
    if not enough.cancel():
        reading.cancel()
    try:
        await reading
    except asyncio.CancelledError:
        notes.end = "cancelled"
    except TimeoutError:
        notes.end = "deadline"
    except VoiceBridgeError as error:
        assert error.next_step
        notes.end = {"code": error.code.name, "reason": error.reason}
