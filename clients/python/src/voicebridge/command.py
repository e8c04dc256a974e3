"""A command is carried out once by its id, so it may be sent until it is answered."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from voicebridge import resume
from voicebridge.control.v1 import call_pb2
from voicebridge.errors import VoiceBridgeError

T = TypeVar("T")

ATTEMPTS = 3
"""Times a command is sent."""


def identified(request: call_pb2.SendCommandRequest) -> call_pb2.SendCommandRequest:
    """The command with an id, chosen here if it has none. The caller's own message stays as it is."""
    if request.command_id:
        return request
    named = call_pb2.SendCommandRequest(command_id=uuid.uuid4().hex)
    named.MergeFrom(request)
    return named


async def send_until_answered(send: Callable[[float | None], Awaitable[T]], limit_s: float | None) -> T:
    """Sends again while that may help and there is time left; ``send`` is told how much."""
    loop = asyncio.get_running_loop()
    until = None if limit_s is None else loop.time() + limit_s
    for sent in range(1, ATTEMPTS + 1):
        try:
            return await send(None if until is None else until - loop.time())
        except VoiceBridgeError as error:
            pause = resume.delay_s(sent, random.random(), error.retry_delay_s)
            late = until is not None and loop.time() + pause >= until
            if sent == ATTEMPTS or late or not resume.heals(error.code):
                raise
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returned or raised")
