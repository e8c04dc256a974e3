"""Measures how long an event takes from a media node into the hands of a subscriber in this language.

    python bench/latency.py [EVENTS]

Follows all calls of the control plane at VOICE_BRIDGE_URL, as VOICE_BRIDGE_API_KEY, until so many events (default 100) were
measured, and prints one line of JSON: {"client", "events", "p50_ms", "p95_ms"}. Somebody has to make calls meanwhile. Only
events of media nodes count, and only those that happened after the first event was here: the stream is live then. The
nodes' clock must be this machine's.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time

from voicebridge import Client


async def measure(events: int) -> list[float]:
    """Milliseconds from `occurred_at` to here, one per event."""
    delays_ms: list[float] = []
    live_since_ns: int | None = None
    async with Client(os.environ["VOICE_BRIDGE_URL"], api_key=os.environ.get("VOICE_BRIDGE_API_KEY")) as client:
        async for event in client.follow():
            now_ns = time.time_ns()
            occurred_ns = event.occurred_at.ToNanoseconds()
            if live_since_ns is None:
                live_since_ns = now_ns
            elif event.node and occurred_ns > live_since_ns:
                delays_ms.append((now_ns - occurred_ns) / 1e6)
                if len(delays_ms) == events:
                    break
    return delays_ms


def main() -> None:
    delays_ms = asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
    percentiles = statistics.quantiles(delays_ms, n=100, method="inclusive")
    figures = {"p50_ms": round(percentiles[49], 2), "p95_ms": round(percentiles[94], 2)}
    print(json.dumps({"client": "python", "events": len(delays_ms), **figures}))


if __name__ == "__main__":
    main()
