"""Statuses as they come, and the error each one becomes."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from voicebridge import FieldViolation, VoiceBridgeError
from voicebridge.errors import DOMAIN, from_rpc


def received(code: grpc.StatusCode, details: bytes | None = None) -> VoiceBridgeError:
    trailers = grpc.aio.Metadata() if details is None else grpc.aio.Metadata(("grpc-status-details-bin", details))
    return from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "what happened"))


def with_details(*details: Message) -> bytes:
    status = Status(code=3, message="what happened")
    for detail in details:
        status.details.add().Pack(detail)
    return status.SerializeToString()


def with_info(domain: str) -> bytes:
    return with_details(ErrorInfo(reason="SDP_INVALID", domain=domain, metadata={"rule": "no-fingerprint"}))


def test_our_reason_comes_with_its_metadata_and_its_page() -> None:
    error = received(grpc.StatusCode.INVALID_ARGUMENT, with_info(DOMAIN))
    assert (error.code, error.reason, error.message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "SDP_INVALID",
        "what happened",
    )
    assert error.metadata == {"rule": "no-fingerprint"}
    assert str(error) == "SDP_INVALID: what happened (see docs/errors/SDP_INVALID.md)"


def test_fields_that_break_a_rule_and_the_delay_come_with_the_error() -> None:
    violation = BadRequest.FieldViolation(field="agent.greeting", description="must be at most 2000 characters")
    details = with_details(
        BadRequest(field_violations=[violation]), RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    )
    error = received(grpc.StatusCode.INVALID_ARGUMENT, details)
    assert error.violations == (FieldViolation("agent.greeting", "must be at most 2000 characters"),)
    assert error.retry_delay_s == 1.5
    bare = received(grpc.StatusCode.UNAVAILABLE)
    assert (bare.violations, bare.retry_delay_s) == ((), 0.0)


@pytest.mark.parametrize("details", [None, b"", b"\xff\x01", with_info("googleapis.com")])
def test_a_status_of_other_origin_has_no_reason_but_a_next_step(details: bytes | None) -> None:
    error = received(grpc.StatusCode.UNAVAILABLE, details)
    assert error.reason == ""
    assert error.metadata == {}
    assert "check that the control plane runs" in str(error)


def test_every_code_has_a_next_step() -> None:
    for code in grpc.StatusCode:
        assert received(code).next_step
