"""The decisions of a stream that resumes by itself, row by row."""

import grpc
import pytest

from voicebridge import resume


@pytest.mark.parametrize(
    ("failures", "drawn", "asked", "expected"),
    [
        (1, 0.0, 0.0, 0.1),
        (1, 1.0, 0.0, 0.2),
        (2, 0.0, 0.0, 0.2),
        (3, 0.5, 0.0, 0.6),
        (6, 0.0, 0.0, 3.2),
        (7, 0.0, 0.0, 5.0),
        (7, 1.0, 0.0, 10.0),
        (5_000, 1.0, 0.0, 10.0),
        (1, 1.0, 1.0, 1.0),
        (7, 1.0, 1.0, 10.0),
        (1, 0.0, 3_600.0, 60.0),
    ],
)
def test_delays_double_up_to_ten_seconds_and_are_spread_over_their_upper_half(
    failures: int, drawn: float, asked: float, expected: float
) -> None:
    assert resume.delay_s(failures, drawn, asked) == pytest.approx(expected)


def test_every_code_either_heals_or_does_not() -> None:
    healing = {code.name for code in grpc.StatusCode if resume.heals(code)}
    assert healing == {
        "UNAVAILABLE",
        "UNKNOWN",
        "INTERNAL",
        "ABORTED",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "CANCELLED",
    }
