"""Keys by their tones: two frequencies at once (ITU-T Q.23). No network and no clock in here."""

import numpy as np

import speech

LOW = (697, 770, 852, 941)
HIGH = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")

WINDOW_MS = 40
HOP_MS = 10
# As receivers of telephone exchanges do (ITU-T Q.24): a shorter hole in a tone is none, a longer one is a pause.
HOLE_MS = 60
# Of the power of a window, how much the two tones must hold between them, and how far apart they may be.
SHARE = 0.8
TWIST_DB = 8


def _power(window: np.ndarray, rate: int, hz: int) -> float:
    """Of one frequency; a full-scale sine has 0.5."""
    angle = 2 * np.pi * hz * np.arange(len(window)) / rate
    return 2 * abs(np.exp(-1j * angle) @ window / len(window)) ** 2


def _key(window: np.ndarray, rate: int) -> str | None:
    total = float((window**2).mean())
    if total < speech.SOUND_RMS**2:
        return None
    low = [_power(window, rate, hz) for hz in LOW]
    high = [_power(window, rate, hz) for hz in HIGH]
    if max(low) + max(high) < SHARE * total or abs(10 * np.log10(max(low) / max(high))) > TWIST_DB:
        return None
    return KEYS[int(np.argmax(low))][int(np.argmax(high))]


def heard(audio: speech.Audio) -> list[tuple[str, int]]:
    """Each key in order, and from its first to its last sound in milliseconds, to a hop."""
    window, hop = audio.rate * WINDOW_MS // 1000, audio.rate * HOP_MS // 1000
    found: list[tuple[str, int, int]] = []
    for index, begin in enumerate(range(0, len(audio.samples) - window, hop)):
        key = _key(audio.samples[begin : begin + window], audio.rate)
        if key is None:
            continue
        begin_ms, end_ms = index * HOP_MS, index * HOP_MS + WINDOW_MS
        if found and found[-1][0] == key and begin_ms - found[-1][2] < HOLE_MS:
            found[-1] = (key, found[-1][1], end_ms)
        else:
            found.append((key, begin_ms, end_ms))
    return [(key, end_ms - begin_ms) for key, begin_ms, end_ms in found]
