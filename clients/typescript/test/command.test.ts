// Commands are sent until they are answered, each under one id.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
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

/** A control plane that refuses so many commands with this status, then takes them; `sent` has the ids they came with. */
function refusing(status: number, times: number) {
  const sent: string[] = [];
  const fetch: typeof globalThis.fetch = async (url, init) => {
    const body = new Uint8Array(await new Request(url, init).arrayBuffer());
    const { commandId } = fromBinary(SendCommandRequestSchema, body.subarray(5));
    sent.push(commandId);
    const taken = sent.length > times;
    const message = toBinary(SendCommandResponseSchema, create(SendCommandResponseSchema, { commandId }));
    const trailers = frame(0x80, new TextEncoder().encode(`grpc-status: ${taken ? 0 : status}\r\n`));
    return new Response(new Blob((taken ? [frame(0, message), trailers] : [trailers]) as BlobPart[]), {
      headers: { "content-type": "application/grpc-web+proto" },
    });
  };
  return { sent, calls: new VoiceBridge({ url: "http://127.0.0.1:3100", fetch }).calls };
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
    const { sent, calls } = refusing(UNAVAILABLE, 99);
    assert.notEqual(await code(calls.sendCommand({ callId: "a" }, { timeoutMs: 90 })), "OK");
    assert.equal(sent.length, 1, "no time for a second one");
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
