"""What a stream that resumes by itself decides: the table in the comment of ``StreamEvents``, without any IO."""

from __future__ import annotations

import grpc

DELAY_FIRST_S = 0.2
DELAY_MAX_S = 10.0
ASKED_DELAY_MAX_S = 60.0
"""The server may ask for longer delays than ours, up to this one."""
KEEPALIVES_MISSED = 3
"""So many keepalive intervals without a response mean that the connection is dead."""

# Past this the delay stays the same; higher powers of two would only overflow.
_DOUBLINGS_MAX = 16

_HEALS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
    }
)


def heals(code: grpc.StatusCode) -> bool:
    """Whether connecting again may help after the server, or the way to it, ended a stream with ``code``."""
    return code in _HEALS


def delay_s(failures: int, drawn: float, asked_s: float = 0.0) -> float:
    """How long to wait after so many failures in a row (from 1), in seconds.

    ``drawn`` is evenly distributed over 0 to 1: the delay is between half of and the whole of what the failures ask for, and
    no shorter than the ``asked_s`` of the server.
    """
    whole = min(DELAY_MAX_S, DELAY_FIRST_S * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
    return max(whole * (0.5 + 0.5 * drawn), min(asked_s, ASKED_DELAY_MAX_S))
