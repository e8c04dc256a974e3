// Commands are sent until they are answered, each under one id.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { encodeBinaryHeader } from "@connectrpc/connect";
import {
  CallService,
  SendCommandRequestSchema,
  SendCommandResponseSchema,
  VoiceBridge,
  type VoiceBridgeError,
} from "@voicebridge/client";

const UNAVAILABLE = 14;
const ALREADY_EXISTS = 6;

/** One frame of gRPC-web. */
function frame(flags: number, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + content.length);
  bytes[0] = flags;
  new DataView(bytes.buffer).setUint32(1, content.length);
  bytes.set(content, 5);
  return bytes;
}

/** `grpc-status-details-bin` with a google.rpc.RetryInfo, both by hand. */
function retryInfo(delayMs: number): string {
  const duration = new BinaryWriter().tag(1, 0).int64(Math.floor(delayMs / 1000));
  duration.tag(2, 0).int32((delayMs % 1000) * 1e6);
  const info = new BinaryWriter().tag(1, 2).bytes(duration.finish()).finish();
  const any = new BinaryWriter().tag(1, 2).string("type.googleapis.com/google.rpc.RetryInfo").tag(2, 2).bytes(info);
  const status = new BinaryWriter().tag(1, 0).int32(UNAVAILABLE).tag(3, 2).bytes(any.finish());
  return `grpc-status-details-bin: ${encodeBinaryHeader(status.finish())}\r\n`;
}

/**
 * A control plane that refuses so many commands with this status, and a delay to wait at least, then takes them; `sent` has
 * the ids they came with.
 */
function refusing(status: number, times: number, delayMs = 0) {
  const sent: string[] = [];
  const fetch: typeof globalThis.fetch = async (url, init) => {
    const body = new Uint8Array(await new Request(url, init).arrayBuffer());
    const { commandId } = fromBinary(SendCommandRequestSchema, body.subarray(5));
    sent.push(commandId);
    const taken = sent.length > times;
    const message = toBinary(SendCommandResponseSchema, create(SendCommandResponseSchema, { commandId }));
    const refusal = `grpc-status: ${status}\r\n${delayMs > 0 ? retryInfo(delayMs) : ""}`;
    const trailers = frame(0x80, new TextEncoder().encode(taken ? "grpc-status: 0\r\n" : refusal));
    return new Response(new Blob((taken ? [frame(0, message), trailers] : [trailers]) as BlobPart[]), {
      headers: { "content-type": "application/grpc-web+proto" },
    });
  };
  const client = new VoiceBridge({ url: "http://127.0.0.1:3100", fetch });
  return { sent, client, calls: client.calls };
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "OK";
  } catch (error) {
    return (error as VoiceBridgeError).code;
  }
}

describe("a command", () => {
  it("is sent until it is answered, and always with the same id", async () => {
    const { sent, calls } = refusing(UNAVAILABLE, 2);
    const request = { callId: "a", command: { kind: { case: "interrupt", value: {} } } } as const;
    const { commandId } = await calls.sendCommand(request);
    assert.deepEqual(sent, [commandId, commandId, commandId]);
    assert.match(commandId, /^[A-Za-z0-9_-]{16,64}$/);
    assert.equal("commandId" in request, false);
    assert.equal((await calls.sendCommand({ ...request, commandId: "mine" })).commandId, "mine");
  });

  it("that is refused or never answered is not sent for ever", async () => {
    for (const [status, name, times] of [
      [ALREADY_EXISTS, "ALREADY_EXISTS", 1],
      [UNAVAILABLE, "UNAVAILABLE", 3],
    ] as const) {
      const { sent, calls } = refusing(status, 99);
      assert.equal(await code(calls.sendCommand({ callId: "a" })), name);
      assert.equal(sent.length, times);
    }
  });

  it("is the same through a client of the service", async () => {
    const { sent, client } = refusing(UNAVAILABLE, 1);
    const { commandId } = await client.service(CallService).sendCommand({ callId: "a" });
    assert.deepEqual(sent, [commandId, commandId]);
    assert.notEqual(commandId, "");
  });

  it("gets an id where there is no randomUUID, as on a page that came over plain HTTP", async (t) => {
    t.mock.method(crypto, "randomUUID", () => {
      throw new TypeError("crypto.randomUUID is not a function");
    });
    const { calls } = refusing(UNAVAILABLE, 0);
    const ids = [await calls.sendCommand({ callId: "a" }), await calls.sendCommand({ callId: "a" })];
    for (const { commandId } of ids) assert.match(commandId, /^[0-9a-f]{32}$/);
    assert.notEqual(ids[0]?.commandId, ids[1]?.commandId);
  });

  it("is sent again no earlier than the control plane asks", async () => {
    // Longer than the first delay of this side's own ever is.
    const askedMs = 400;
    const { sent, calls } = refusing(UNAVAILABLE, 1, askedMs);
    const began = performance.now();
    await calls.sendCommand({ callId: "a" });
    // Timers may fire within the millisecond before.
    assert.ok(performance.now() - began >= askedMs - 1);
    assert.equal(sent.length, 2);
  });

  it("fails at once if its deadline comes before it may be sent again", async () => {
    for (const options of [{}, { timeoutMs: 15_000 }]) {
      const { sent, calls } = refusing(UNAVAILABLE, 99, 60_000);
      const began = performance.now();
      const { code, retryDelayMs } = await calls.sendCommand({ callId: "a" }, options).then(
        () => assert.fail("it was taken"),
        (error: VoiceBridgeError) => error,
      );
      assert.deepEqual([code, retryDelayMs, sent.length], ["UNAVAILABLE", 60_000, 1]);
      assert.ok(performance.now() - began < 5_000);
    }
  });

  it("is not sent again once its sender gave up", async () => {
    const { sent, calls } = refusing(UNAVAILABLE, 99);
    const sender = new AbortController();
    const sending = code(calls.sendCommand({ callId: "a" }, { signal: sender.signal, timeoutMs: 0 }));
    while (sent.length === 0) await new Promise((resolve) => setImmediate(resolve));
    sender.abort();
    assert.equal(await sending, "CANCELLED");
    assert.ok(sent.length < 3, `sent ${sent.length} times`);
  });
});
