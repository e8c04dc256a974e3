"""The one error of this package: a gRPC code, voicebridge's stable reason, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "voicebridge.dev"
"""``google.rpc.ErrorInfo.domain`` of everything voicebridge answers; reasons of other domains are not taken for ours."""

_DETAILS_KEY = "grpc-status-details-bin"

# Answers without a reason of voicebridge's come from the way there: the connection, a proxy, another server.
_NEXT_STEPS = {
    grpc.StatusCode.UNAVAILABLE: "check that the control plane runs, that the URL names it, and http or https",
    grpc.StatusCode.DEADLINE_EXCEEDED: "check the network and the control plane's health, or allow more time",
    grpc.StatusCode.CANCELLED: "something between here and the control plane gave up; try again",
    grpc.StatusCode.UNAUTHENTICATED: "check the API key",
    grpc.StatusCode.PERMISSION_DENIED: "check the API key and what a proxy in between allows",
    grpc.StatusCode.UNIMPLEMENTED: "check that the URL names a control plane, at least as new as this client",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "a message is too large or a proxy in between limits requests",
}
_OTHERWISE = "check that the URL names a control plane and that what is in between speaks HTTP/2"


@dataclass(frozen=True)
class FieldViolation:
    """A field of a request that breaks a rule."""

    field: str
    """Its path, e.g. ``agent.instructions``."""
    rule: str
    """What it must be, e.g. ``must be at most 32768 bytes``."""


class VoiceBridgeError(Exception):
    """What went wrong with a request or a stream."""

    code: grpc.StatusCode
    """gRPC's code, for what a program does next."""
    reason: str
    """Stable, upper-case, one page each under ``docs/errors`` in voicebridge's repository, e.g. ``CALL_NOT_FOUND``. Empty
    when the answer was not voicebridge's own: a broken connection, a deadline, a proxy."""
    message: str
    """One sentence for a person, free of secrets and personal data."""
    metadata: Mapping[str, str]
    """What came with the reason, e.g. ``field`` and ``rule`` with ``INVALID_ARGUMENT``."""

    violations: tuple[FieldViolation, ...]
    """The fields of the request that break a rule, with ``INVALID_ARGUMENT``."""
    retry_delay_s: float
    """How long to wait at least before asking again, in seconds; 0 if nothing was said of it. ``Client.follow`` keeps to it."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_delay_s: float = 0.0,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = MappingProxyType(dict(metadata or {}))
        self.violations = tuple(violations)
        self.retry_delay_s = retry_delay_s
        super().__init__(f"{reason or code.name}: {message} ({self.next_step})")

    @property
    def next_step(self) -> str:
        """What to do now, in words: the reason's page, or advice by the code."""
        if self.reason:
            return f"see docs/errors/{self.reason}.md"
        return _NEXT_STEPS.get(self.code, _OTHERWISE)


def from_rpc(error: grpc.aio.AioRpcError) -> VoiceBridgeError:
    """The error that a failed RPC stands for."""
    reason = ""
    metadata: Mapping[str, str] = {}
    violations: list[FieldViolation] = []
    retry_delay_s = 0.0
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    try:
        for detail in _details(error.trailing_metadata()):
            if detail.Unpack(info) and info.domain == DOMAIN and not reason:
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):
                violations += [FieldViolation(found.field, found.description) for found in bad.field_violations]
            elif detail.Unpack(retry):
                retry_delay_s = max(0.0, retry.retry_delay.ToTimedelta().total_seconds())
    except (DecodeError, OverflowError):
        # Not ours then; what was read so far has to do.
        pass
    message = error.details() or "no details"
    return VoiceBridgeError(
        error.code(), message, reason=reason, metadata=metadata, violations=violations, retry_delay_s=retry_delay_s
    )


def _details(trailers: Iterable[tuple[str, str | bytes]] | None) -> Iterator[Any]:
    for key, value in trailers or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            yield from Status.FromString(value).details
