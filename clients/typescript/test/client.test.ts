// What goes over the wire with a request, and what a client refuses to be made with.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  GetCallResponseSchema,
  GetServerInfoResponseSchema,
  ListCallsRequestSchema,
  ServerService,
  timestampFromDate,
  VoiceBridge,
  VoiceBridgeError,
  type VoiceBridgeOptions,
} from "@voicebridge/client";

/** One frame of gRPC-web. */
function frame(flags: number, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + content.length);
  bytes[0] = flags;
  new DataView(bytes.buffer).setUint32(1, content.length);
  bytes.set(content, 5);
  return bytes;
}

/** Asks for a call; the URL and the headers that a server would see. */
async function asked(options: Omit<VoiceBridgeOptions, "fetch">, timeoutMs?: number): Promise<[string, Headers]> {
  let seen: [string, Headers] | undefined;
  const fetch: typeof globalThis.fetch = async (url, init) => {
    seen = [String(url), new Headers(init?.headers)];
    const message = frame(0, toBinary(GetCallResponseSchema, create(GetCallResponseSchema, { call: { callId: "a" } })));
    const trailers = frame(0x80, new TextEncoder().encode("grpc-status: 0\r\n"));
    return new Response(new Blob([message, trailers] as BlobPart[]), {
      headers: { "content-type": "application/grpc-web+proto" },
    });
  };
  const { call } = await new VoiceBridge({ ...options, fetch }).calls.getCall(
    { callId: "a" },
    timeoutMs === undefined ? {} : { timeoutMs },
  );
  assert.equal(call?.callId, "a");
  assert.ok(seen);
  return seen;
}

const url = "http://127.0.0.1:3100";

describe("a client", () => {
  it("asks at its URL, with or without a slash at the end", async () => {
    const path = "/voicebridge.control.v1.CallService/GetCall";
    assert.equal((await asked({ url }))[0], url + path);
    assert.equal((await asked({ url: `${url}/voice/` }))[0], `${url}/voice${path}`);
  });

  it("shows its key, asking for it before each request if it is a function", async () => {
    const key = async (apiKey: VoiceBridgeOptions["apiKey"]) => (await asked({ url, apiKey }))[1].get("authorization");
    assert.equal(await key("secret"), "Bearer secret");
    assert.equal(await key(async () => "fresh"), "Bearer fresh");
    assert.equal(await key(undefined), null);
  });

  it("sets a deadline: its own, the request's, or none", async () => {
    const deadline = async (own?: number, request?: number) =>
      (await asked({ url, timeoutMs: own }, request))[1].get("grpc-timeout");
    assert.equal(await deadline(), "10000m");
    assert.equal(await deadline(2_000), "2000m");
    assert.equal(await deadline(2_000, 500), "500m");
    assert.equal(await deadline(0), null);
    assert.equal(await deadline(2_000, 0), null);
  });

  it("gives a wait as much longer as it is to wait", async () => {
    let seen: string | null = null;
    const fetch: typeof globalThis.fetch = async (_, init) => {
      seen = new Headers(init?.headers).get("grpc-timeout");
      throw new TypeError("not here");
    };
    const deadline = async (own?: number, request?: number) => {
      const { calls } = new VoiceBridge({ url, timeoutMs: own, fetch });
      const options = request === undefined ? {} : { timeoutMs: request };
      await calls.waitForSession({ callId: "a", timeoutMs: 30_000 }, options).catch(() => {});
      return seen;
    };
    assert.equal(await deadline(), "40000m");
    assert.equal(await deadline(2_000, 500), "500m");
    assert.equal(await deadline(0), null);
  });

  it("asks other services too: what the control plane is", async () => {
    let path = "";
    const fetch: typeof globalThis.fetch = async (asked) => {
      path = new URL(String(asked)).pathname;
      const info = create(GetServerInfoResponseSchema, { contractVersion: "1.0" });
      const trailers = frame(0x80, new TextEncoder().encode("grpc-status: 0\r\n"));
      return new Response(new Blob([frame(0, toBinary(GetServerInfoResponseSchema, info)), trailers] as BlobPart[]), {
        headers: { "content-type": "application/grpc-web+proto" },
      });
    };
    const { contractVersion } = await new VoiceBridge({ url, fetch }).service(ServerService).getServerInfo({});
    assert.equal(contractVersion, "1.0");
    assert.equal(path, "/voicebridge.control.v1.ServerService/GetServerInfo");
  });

  it("has what a filter by time is made with", () => {
    const receivedFrom = timestampFromDate(new Date(1_500));
    const { filter } = create(ListCallsRequestSchema, { filter: { receivedFrom } });
    assert.deepEqual([filter?.receivedFrom?.seconds, filter?.receivedFrom?.nanos], [1n, 500_000_000]);
  });

  it("is not made for what is no address", () => {
    for (const wrong of ["", "voice.example.com", "ftp://voice.example.com"]) {
      assert.throws(
        () => new VoiceBridge({ url: wrong }),
        (error) =>
          error instanceof VoiceBridgeError && error.code === "INVALID_ARGUMENT" && error.message.includes("url"),
        wrong,
      );
    }
  });
});
