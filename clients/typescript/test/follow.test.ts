// What the scenarios cannot show of a stream that resumes: the user's side of it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  type Connect,
  EventStream,
  type FollowOptions,
  type StreamEventsResponse,
  StreamEventsResponseSchema,
  VoiceBridgeError,
} from "@voicebridge/client";

function event(sequence: number): StreamEventsResponse {
  return create(StreamEventsResponseSchema, { cursor: `c${sequence}`, event: { sequence: BigInt(sequence) } });
}

/** A server that sends these and then nothing, deaf to being told that nobody listens; and the signals it was given. */
function silent(...responses: StreamEventsResponse[]): { connect: Connect; signals: AbortSignal[] } {
  const signals: AbortSignal[] = [];
  const connect: Connect = async function* (_, signal) {
    signals.push(signal);
    yield* responses;
    await new Promise(() => {});
  };
  return { connect, signals };
}

const away: Connect = async function* () {
  yield* [];
  throw new VoiceBridgeError("UNAVAILABLE", "nobody there");
};

async function ending(connect: Connect, options: FollowOptions): Promise<string> {
  try {
    for await (const _ of new EventStream(connect, { callId: "wacid.one" }, options));
    return "complete";
  } catch (error) {
    return (error as VoiceBridgeError).code;
  }
}

describe("a stream of events", () => {
  it("ends while it waits between two connections", async () => {
    const user = new AbortController();
    setTimeout(() => user.abort(), 20);
    assert.equal(await ending(away, { signal: user.signal, random: () => 1 }), "CANCELLED");
    assert.equal(await ending(away, { timeoutMs: 20, random: () => 1 }), "DEADLINE_EXCEEDED");
  });

  it("ends though the transport is deaf to it", async () => {
    const user = new AbortController();
    setTimeout(() => user.abort(), 20);
    assert.equal(await ending(silent().connect, { signal: user.signal }), "CANCELLED");
    assert.equal(await ending(silent().connect, { signal: AbortSignal.abort() }), "CANCELLED");
  });

  it("closes the connection when the reader leaves", async () => {
    const { connect, signals } = silent(event(1), event(2));
    const stream = new EventStream(connect, { callId: "wacid.one" });
    for await (const { event } of stream) if (event?.sequence === 2n) break;
    assert.deepEqual([signals.length, signals[0]?.aborted, stream.cursor], [1, true, "c2"]);
  });

  it("has the cursor of what was handed over, not of what was received", async () => {
    const stream = new EventStream(silent(event(1), event(2)).connect, { callId: "wacid.one", cursor: "c0" });
    assert.equal(stream.cursor, "c0");
    const reader = stream[Symbol.asyncIterator]();
    assert.equal((await reader.next()).value?.cursor, "c1");
    assert.equal(stream.cursor, "c1");
    await reader.return();
  });

  it("does not take a slow reader for a silent server", async () => {
    const { connect, signals } = silent(event(1), event(2));
    const stream = new EventStream(connect, { callId: "wacid.one" }, { assumedKeepaliveMs: 10 });
    const seen: unknown[] = [];
    for await (const { event } of stream) {
      seen.push(event?.sequence);
      if (seen.length === 2) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.deepEqual([seen, signals.length], [[1n, 2n], 1]);
  });

  it("can be read once", async () => {
    const stream = new EventStream(silent(event(1)).connect, {});
    for await (const _ of stream) break;
    assert.throws(() => stream[Symbol.asyncIterator](), /read once/);
  });
});
