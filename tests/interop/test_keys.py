"""Keys between the bridge and stacks that are not ours, at the end of the talks of test_callers.py.

The bridge's keys are judged twice: by Wireshark, which reads the packets that aiortc received, against RFC 4733; and by
what Chromium makes of them, which is tones in its listener's ear. The keys of a caller are pressed in Chromium.
"""

import pytest

import capture
import tones

CODES = "0123456789*#ABCD"
TELEPHONE_EVENT = 126
# A key is 100 ms, reported every 20 ms, at the event's clock of 8 kHz; its end is sent three times.
DURATIONS = [160, 320, 480, 640, 800, 800, 800]
ENDS = [0, 0, 0, 0, 1, 1, 1]
SLOT_MS = 20
KEY_AND_PAUSE_MS = 200
# ITU-T Q.24.
SHORTEST_TONE_MS = 40

AIORTC = ["aiortc", "aiortc-pcmu", "aiortc-pcma"]
CHROMIUM = ["chromium", "chromium-pcma"]


def clock(talk) -> int:
    return int(talk.encoding.split("/")[1])


@pytest.fixture
def packets(talk) -> list[dict[str, str]]:
    return capture.read(talk.folder / "keys.pcap", TELEPHONE_EVENT)


def number(text: str) -> int:
    """Wireshark writes flags as True and False or as 1 and 0, by version."""
    return {"True": 1, "False": 0}[text] if text in ("True", "False") else int(text, 0)


@pytest.mark.parametrize("talk", AIORTC, indirect=True)
def test_each_key_is_an_event_as_rfc_4733_has_it(talk, packets):
    events = [packet for packet in packets if number(packet["rtp.p_type"]) == TELEPHONE_EVENT]
    keys = [events[at : at + len(DURATIONS)] for at in range(0, len(events), len(DURATIONS))]
    assert len(keys) == len(talk.report["keys"])
    begins = []
    for digit, reports in zip(talk.report["keys"], keys):
        read = lambda field: [number(report[field]) for report in reports]
        assert read("rtpevent.event_id") == [CODES.index(digit)] * len(DURATIONS)
        assert read("rtpevent.duration") == DURATIONS
        assert read("rtpevent.end_of_event") == ENDS
        # The marker on the first report, one timestamp for all: that of the beginning (section 2.3).
        assert read("rtp.marker") == [1] + [0] * (len(DURATIONS) - 1)
        assert len(set(read("rtp.timestamp"))) == 1
        # -10 dBm0, as telephones have it, and the bit that must be 0 is.
        assert read("rtpevent.volume") == [10] * len(DURATIONS)
        assert read("rtpevent.reserved") == [0] * len(DURATIONS)
        begins.append(reports[0])
    steps = [
        (number(b["rtp.timestamp"]) - number(a["rtp.timestamp"])) % 2**32 for a, b in zip(begins, begins[1:])
    ]
    assert steps == [clock(talk) * KEY_AND_PAUSE_MS // 1000] * (len(keys) - 1)


@pytest.mark.parametrize("talk", AIORTC, indirect=True)
def test_keys_and_audio_are_one_stream(talk, packets):
    assert len({packet["rtp.ssrc"] for packet in packets}) == 1
    steps = list(zip(packets, packets[1:]))
    assert all((number(b["rtp.seq"]) - number(a["rtp.seq"])) % 65_536 == 1 for a, b in steps)
    # What is not an event is audio of its own slot: by its place in the sequence, on one clock.
    frame = clock(talk) * SLOT_MS // 1000
    audio = [(at, packet) for at, packet in enumerate(packets) if number(packet["rtp.p_type"]) != TELEPHONE_EVENT]
    (first_at, first), *rest = audio
    assert rest
    for at, packet in rest:
        passed = (number(packet["rtp.timestamp"]) - number(first["rtp.timestamp"])) % 2**32
        assert passed == (at - first_at) * frame


@pytest.mark.parametrize("talk", ["chromium-pcma"], indirect=True)
def test_a_browser_plays_the_keys(talk):
    heard = tones.heard(talk.keys_heard)
    assert "".join(key for key, _ in heard) == talk.report["keys"], heard
    assert all(SHORTEST_TONE_MS <= ms < KEY_AND_PAUSE_MS for _, ms in heard), heard


@pytest.mark.parametrize("talk", CHROMIUM, indirect=True)
def test_keys_pressed_in_a_browser_are_reported_once_each(talk):
    pressed = [event["dtmfReceived"] for event in talk.events if "dtmfReceived" in event]
    wanted = talk.report["pressed"]
    assert "".join(key["digit"] for key in pressed) == wanted["digits"]
    assert all(abs(key["durationMs"] - wanted["ms"]) <= SLOT_MS for key in pressed), pressed
