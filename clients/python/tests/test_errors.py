"""Statuses as they come, and the error each one becomes."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from voicebridge import VoiceBridgeError
from voicebridge.errors import from_rpc


def received(code: grpc.StatusCode, details: bytes | None = None) -> VoiceBridgeError:
    trailers = grpc.aio.Metadata() if details is None else grpc.aio.Metadata(("grpc-status-details-bin", details))
    return from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "what happened"))


def with_info(domain: str) -> bytes:
    detail = Any()
    detail.Pack(ErrorInfo(reason="SDP_INVALID", domain=domain, metadata={"rule": "no-fingerprint"}))
    return Status(code=3, message="what happened", details=[detail]).SerializeToString()


def test_our_reason_comes_with_its_metadata_and_its_page() -> None:
    error = received(grpc.StatusCode.INVALID_ARGUMENT, with_info("voicebridge"))
    assert (error.code, error.reason, error.message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "SDP_INVALID",
        "what happened",
    )
    assert error.metadata == {"rule": "no-fingerprint"}
    assert str(error) == "SDP_INVALID: what happened (see docs/errors/SDP_INVALID.md)"


@pytest.mark.parametrize("details", [None, b"", b"\xff\x01", with_info("googleapis.com")])
def test_a_status_of_other_origin_has_no_reason_but_a_next_step(details: bytes | None) -> None:
    error = received(grpc.StatusCode.UNAVAILABLE, details)
    assert error.reason == ""
    assert error.metadata == {}
    assert "check that the control plane runs" in str(error)


def test_every_code_has_a_next_step() -> None:
    for code in grpc.StatusCode:
        assert received(code).next_step
