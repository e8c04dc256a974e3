"""Requests against a control plane in this process: where to, as whom, for how long, and what failed."""

import asyncio
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from plane import Command as CommandAnswer
from plane import Context, Control

from voicebridge import (
    Client,
    Command,
    GetCallRequest,
    Interrupt,
    SendCommandRequest,
    VoiceBridgeError,
    WaitForSessionRequest,
)
from voicebridge.control.v1 import call_pb2
from voicebridge.control.v1.call_pb2 import WaitForSessionResponse
from voicebridge.resume import DELAY_FIRST_S


async def found(request: call_pb2.GetCallRequest, _: Context) -> call_pb2.GetCallResponse:
    return call_pb2.GetCallResponse(call=call_pb2.Call(call_id=request.call_id))


async def never(_: call_pb2.GetCallRequest, __: Context) -> call_pb2.GetCallResponse:
    await asyncio.Event().wait()
    raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:3100", "not the URL"),
        ("ftp://host", "not the URL"),
        ("http://", "not the URL"),
        ("", "not the URL"),
        ("https://key@host", "api_key"),
        ("http://host/api", "no path"),
        ("http://host?key=1", "no path"),
    ],
)
def test_a_url_that_is_none_is_refused_by_name(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Client(url)


async def test_the_key_goes_along_as_a_bearer_token(control: Control) -> None:
    control.get = found
    async with Client(control.url + "/", api_key="key-7") as client:
        answer = await client.calls.GetCall(GetCallRequest(call_id="wacid.1"))
    assert answer.call.call_id == "wacid.1"
    assert control.metadata[0]["authorization"] == "Bearer key-7"


async def test_without_a_key_nothing_is_sent(control: Control) -> None:
    control.get = found
    async with Client(control.url) as client:
        await client.calls.GetCall(GetCallRequest())
    assert "authorization" not in control.metadata[0]


async def test_a_wait_may_take_as_much_longer_as_it_is_to_wait(control: Control) -> None:
    left: list[float] = []

    async def wait(_: WaitForSessionRequest, context: Context) -> WaitForSessionResponse:
        left.append(context.time_remaining() or 0.0)
        return WaitForSessionResponse()

    control.wait = wait
    request = WaitForSessionRequest(timeout_ms=30_000)
    async with Client(control.url, timeout=1_000) as client:
        await client.calls.WaitForSession(request)
        await client.calls.WaitForSession(request, timeout=500)
    # gRPC rounds such times up.
    assert 1_010 < left[0] < 1_040
    assert left[1] < 510


async def test_a_request_has_a_deadline_that_it_may_set_itself(control: Control) -> None:
    control.get = never
    async with Client(control.url, timeout=0.05) as client:
        with pytest.raises(VoiceBridgeError) as error:
            await client.calls.GetCall(GetCallRequest())
    assert error.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    async with Client(control.url, timeout=3_600) as client:
        with pytest.raises(VoiceBridgeError) as error:
            await client.calls.GetCall(GetCallRequest(), timeout=0.05)
    assert error.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_control_plane_that_is_away_is_one_error_with_a_next_step(control: Control) -> None:
    # Port 1 of loopback: reserved (RFC 6335), and nothing here listens on it.
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(VoiceBridgeError) as error:
            await client.calls.GetCall(GetCallRequest())
        with pytest.raises(VoiceBridgeError) as streamed:
            await anext(client.follow(max_attempts=1))
    for each in (error.value, streamed.value):
        assert each.code is grpc.StatusCode.UNAVAILABLE
        assert "check that the control plane runs" in str(each)


async def test_cancelling_a_request_cancels_it_at_the_control_plane(control: Control) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def get(_: call_pb2.GetCallRequest, context: Context) -> call_pb2.GetCallResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError("not reached")

    control.get = get
    async with Client(control.url) as client:
        request = asyncio.create_task(_get(client))
        await begun.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.wait_for(gone.wait(), 5)


async def _get(client: Client) -> None:
    await client.calls.GetCall(GetCallRequest())


async def test_a_command_is_sent_until_it_is_answered_and_always_with_the_same_id(control: Control) -> None:
    sent: list[str] = []

    async def refuse_twice(request: call_pb2.SendCommandRequest, context: Context) -> call_pb2.SendCommandResponse:
        sent.append(request.command_id)
        if len(sent) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return call_pb2.SendCommandResponse(command_id=request.command_id)

    control.command = refuse_twice
    interrupt = SendCommandRequest(call_id="a", command=Command(interrupt=Interrupt()))
    async with Client(control.url) as client:
        answer = await client.calls.SendCommand(interrupt)
        assert sent == [answer.command_id] * 3 and len(answer.command_id) == 32
        assert interrupt.command_id == "", "the message is the caller's"
        named = SendCommandRequest(call_id="a", command=Command(interrupt=Interrupt()), command_id="mine")
        assert (await client.calls.SendCommand(named)).command_id == "mine"


async def test_a_command_that_is_refused_or_never_answered_is_not_sent_for_ever(control: Control) -> None:
    sent: list[grpc.StatusCode] = []

    async def refuse(_: call_pb2.SendCommandRequest, context: Context) -> call_pb2.SendCommandResponse:
        sent.append(refusal)
        await context.abort(refusal, "no")
        raise AssertionError("not reached")

    control.command = refuse
    async with Client(control.url) as client:
        for refusal, times in ((grpc.StatusCode.ALREADY_EXISTS, 1), (grpc.StatusCode.UNAVAILABLE, 3)):
            sent.clear()
            with pytest.raises(VoiceBridgeError) as error:
                await client.calls.SendCommand(SendCommandRequest(call_id="a"))
            assert (error.value.code, len(sent)) == (refusal, times)


def refusing(delay_s: float, times: int, sent: list[str]) -> CommandAnswer:
    """Refuses so many commands, each with a delay to wait at least, then takes them."""
    retry = RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=delay_s))
    status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="not now")
    status.details.add().Pack(retry)

    async def answer(request: call_pb2.SendCommandRequest, context: Context) -> call_pb2.SendCommandResponse:
        sent.append(request.command_id)
        if len(sent) <= times:
            details = ("grpc-status-details-bin", status.SerializeToString())
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now", (details,))
        return call_pb2.SendCommandResponse(command_id=request.command_id)

    return answer


async def test_a_command_is_sent_again_no_earlier_than_the_control_plane_asks(control: Control) -> None:
    sent: list[str] = []
    # Longer than the first delay of this side's own ever is.
    asked_s = 2 * DELAY_FIRST_S
    control.command = refusing(asked_s, 1, sent)
    async with Client(control.url) as client:
        began = time.monotonic()
        await client.calls.SendCommand(SendCommandRequest(call_id="a"))
    assert time.monotonic() - began >= asked_s
    assert len(sent) == 2


async def test_a_command_fails_at_once_if_its_deadline_comes_before_it_may_be_sent_again(control: Control) -> None:
    sent: list[str] = []
    control.command = refusing(60, 99, sent)
    for own, timeout in ((15.0, None), (1_000.0, 15.0)):
        sent.clear()
        async with Client(control.url, timeout=own) as client:
            began = time.monotonic()
            with pytest.raises(VoiceBridgeError) as error:
                await client.calls.SendCommand(SendCommandRequest(call_id="a"), timeout=timeout)
        assert (error.value.code, error.value.retry_delay_s) == (grpc.StatusCode.UNAVAILABLE, 60)
        assert time.monotonic() - began < 7
        assert len(sent) == 1


async def test_tls_by_the_url_with_authorities_of_ones_own(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    control = Control(get=found)
    server = await control.start(grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]))
    try:
        async with Client(control.url, root_certificates=certificate.read_bytes()) as client:
            await client.calls.GetCall(GetCallRequest())
        async with Client(control.url) as client:
            with pytest.raises(VoiceBridgeError) as error:
                await client.calls.GetCall(GetCallRequest())
        assert error.value.code is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(None)


def test_authorities_are_for_https_only() -> None:
    with pytest.raises(ValueError, match="https"):
        Client("http://127.0.0.1:3100", root_certificates=b"")
