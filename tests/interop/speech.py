"""Tells by the audio alone what was said: WAV files, loudness envelopes, correlation, stretches of speech.

Judging by content and not by byte counts is the point of these tests: a bridge that sends 50 packets of noise or of
silence a second passes every counter. No network and no clock in here.
"""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# One envelope point every 10 ms over a 20 ms window: fine enough to tell sentences apart, coarse enough to survive a
# codec, a resampler and the time-stretching of a browser's jitter buffer.
HOP_MS = 10
WINDOW_MS = 20

# Root mean square above which a window counts as sound, of a full scale of 1: -46 dBFS. Comfort noise and codec
# residue stay well below it, espeak's speech well above.
SOUND_RMS = 0.005

# A pause shorter than this belongs to the sentence around it.
PAUSE_MS = 600


@dataclass(frozen=True)
class Audio:
    """Mono samples between -1 and 1."""

    rate: int
    samples: np.ndarray

    @property
    def duration_ms(self) -> float:
        return 1000 * len(self.samples) / self.rate

    def since(self, ms: float) -> "Audio":
        return Audio(self.rate, self.samples[int(ms * self.rate / 1000) :])

    def until(self, ms: float) -> "Audio":
        return Audio(self.rate, self.samples[: int(ms * self.rate / 1000)])


@dataclass(frozen=True)
class Match:
    """Where a clip was found, and how surely."""

    correlation: float
    offset_ms: int


def read_wav(path: Path) -> Audio:
    """Reads 16-bit PCM, any rate; several channels are averaged."""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path}: 16-bit samples expected, found {8 * file.getsampwidth()}-bit")
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        channels = file.getnchannels()
        rate = file.getframerate()
    return Audio(rate, data.reshape(-1, channels).mean(axis=1) / 32768)


def write_wav(path: Path, audio: Audio) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.rate)
        file.writeframes((np.clip(audio.samples, -1, 1) * 32767).astype("<i2").tobytes())


def envelope(audio: Audio) -> np.ndarray:
    """Root mean square of each window."""
    hop = audio.rate * HOP_MS // 1000
    window = audio.rate * WINDOW_MS // 1000
    if len(audio.samples) < window:
        return np.zeros(0)
    windows = np.lib.stride_tricks.sliding_window_view(audio.samples, window)[::hop]
    return np.sqrt((windows**2).mean(axis=1))


def find(clip: Audio, heard: Audio) -> Match:
    """The place in `heard` whose envelope is most like the clip's (Pearson)."""
    wanted = envelope(clip)
    points = envelope(heard)
    if len(points) < len(wanted) or len(wanted) == 0:
        return Match(0.0, 0)
    windows = np.lib.stride_tricks.sliding_window_view(points, len(wanted))
    centred = windows - windows.mean(axis=1, keepdims=True)
    reference = wanted - wanted.mean()
    norms = np.sqrt((centred**2).sum(axis=1)) * np.sqrt((reference**2).sum())
    # A silent window correlates with nothing.
    correlations = np.divide(centred @ reference, norms, out=np.zeros(len(windows)), where=norms > 1e-6)
    best = int(correlations.argmax())
    return Match(float(correlations[best]), best * HOP_MS)


def stretches(audio: Audio) -> list[tuple[int, int]]:
    """Begin and end in milliseconds of each stretch of sound, pauses within a sentence bridged."""
    found: list[tuple[int, int]] = []
    for index, rms in enumerate(envelope(audio)):
        if rms < SOUND_RMS:
            continue
        begin = index * HOP_MS
        if found and begin - found[-1][1] <= PAUSE_MS:
            found[-1] = (found[-1][0], begin + WINDOW_MS)
        else:
            found.append((begin, begin + WINDOW_MS))
    # A click is not a sentence.
    return [(begin, end) for begin, end in found if end - begin >= 100]
