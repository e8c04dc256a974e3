"""Judges recordings: PESQ (ITU-T P.862.2, wideband, 16 kHz) and STOI of each against its reference, after time alignment.

    score.py LIST RESULT

LIST is JSON, [{"reference": wav, "degraded": wav}, ...]; RESULT is JSON, [{"pesq": x, "stoi": x, "lag_ms": x}, ...] in the
same order. Neither package aligns finely by itself: the degraded recording is moved by the lag at which the two correlate
best, one for the whole recording, found within 100 ms.
"""

import json
import multiprocessing
import sys

import numpy
import pesq
import pystoi
from scipy.io import wavfile
from scipy.signal import correlate, resample_poly

RATE = 16_000
MOST_LAG = RATE // 10


def load(path):
    rate, samples = wavfile.read(path)
    if rate != 24_000 or samples.ndim != 1:
        raise ValueError(f"{path} is not 24 kHz mono")
    return resample_poly(samples.astype(numpy.float64) / 32_768, 2, 3)


def align(reference, degraded):
    """Both cut to what they have in common, and by how many samples the degraded one was late."""
    correlation = correlate(degraded, reference, mode="full", method="fft")
    zero = len(reference) - 1
    around = correlation[zero - MOST_LAG : zero + MOST_LAG + 1]
    lag = int(numpy.argmax(around)) - MOST_LAG
    if lag > 0:
        degraded = degraded[lag:]
    else:
        reference = reference[-lag:]
    length = min(len(reference), len(degraded))
    return reference[:length], degraded[:length], lag


def judge(pair):
    reference, degraded, lag = align(load(pair["reference"]), load(pair["degraded"]))
    return {
        "pesq": float(pesq.pesq(RATE, reference, degraded, "wb")),
        "stoi": float(pystoi.stoi(reference, degraded, RATE)),
        "lag_ms": lag * 1_000 / RATE,
    }


def main():
    with open(sys.argv[1]) as source:
        pairs = json.load(source)
    with multiprocessing.Pool() as pool:
        results = pool.map(judge, pairs, chunksize=4)
    with open(sys.argv[2], "w") as target:
        json.dump(results, target)


if __name__ == "__main__":
    main()
