// What was thrown anywhere below, as a user sees it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { VoiceBridgeError } from "@voicebridge/client";

/** google.rpc.ErrorInfo by hand. */
function errorInfo(reason: string, domain: string, metadata: Record<string, string>) {
  const writer = new BinaryWriter().tag(1, 2).string(reason).tag(2, 2).string(domain);
  for (const [key, value] of Object.entries(metadata)) {
    writer.tag(3, 2).bytes(new BinaryWriter().tag(1, 2).string(key).tag(2, 2).string(value).finish());
  }
  return { type: "google.rpc.ErrorInfo", value: writer.finish() };
}

/** As Connect gives a status that was answered: with the headers it came with. */
function answered(code: Code, details: ReturnType<typeof errorInfo>[] = []): ConnectError {
  const error = new ConnectError("no fingerprint", code, { "grpc-status": String(code) });
  error.details = details;
  return error;
}

function check(thrown: unknown, expect: Partial<VoiceBridgeError>): void {
  const { code, reason, metadata, message } = VoiceBridgeError.from(thrown);
  assert.deepEqual({ code, reason, metadata, message }, { reason: "", metadata: {}, ...expect });
}

describe("errors", () => {
  it("carry voicebridge's own reason and metadata", () => {
    const details = [errorInfo("SDP_INVALID", "voicebridge.dev", { rule: "no-fingerprint", field: "sdp_offer" })];
    check(answered(Code.InvalidArgument, details), {
      code: "INVALID_ARGUMENT",
      reason: "SDP_INVALID",
      metadata: { rule: "no-fingerprint", field: "sdp_offer" },
      message: "no fingerprint",
    });
  });

  it("carry the fields that break a rule, and the delay", () => {
    const violation = new BinaryWriter().tag(1, 2).string("agent.greeting").tag(2, 2).string("must be short").finish();
    const delay = new BinaryWriter().tag(1, 0).int64(1).tag(2, 0).int32(500_000_000).finish();
    const error = VoiceBridgeError.from(
      answered(Code.InvalidArgument, [
        { type: "google.rpc.BadRequest", value: new BinaryWriter().tag(1, 2).bytes(violation).finish() },
        { type: "google.rpc.RetryInfo", value: new BinaryWriter().tag(1, 2).bytes(delay).finish() },
      ]),
    );
    assert.deepEqual(error.violations, [{ field: "agent.greeting", rule: "must be short" }]);
    assert.equal(error.retryDelayMs, 1500);
    const bare = VoiceBridgeError.from(answered(Code.Unavailable));
    assert.deepEqual([bare.violations, bare.retryDelayMs], [[], 0]);
  });

  it("have no reason if it is another's, or none", () => {
    const bare = { code: "RESOURCE_EXHAUSTED", message: "no fingerprint" } as const;
    check(answered(Code.ResourceExhausted, [errorInfo("RATE_LIMITED", "googleapis.com", {})]), bare);
    check(answered(Code.ResourceExhausted), bare);
    check(answered(Code.ResourceExhausted, [{ type: "google.rpc.ErrorInfo", value: Uint8Array.of(0xff, 1) }]), bare);
  });

  it("that nobody answered are UNAVAILABLE, half a message too", () => {
    const message = "protocol error: incomplete envelope";
    for (const code of [Code.Unknown, Code.InvalidArgument, Code.Aborted, Code.Canceled, Code.Unavailable]) {
      check(new ConnectError(message, code), { code: "UNAVAILABLE", message });
    }
    check(new TypeError("fetch failed"), { code: "UNAVAILABLE", message: "fetch failed" });
    check(new ConnectError("parse binary", Code.Internal), { code: "INTERNAL", message: "parse binary" });
  });

  it("name the next step and the page about the reason", () => {
    const error = new VoiceBridgeError("NOT_FOUND", "no such call", { reason: "CALL_NOT_FOUND" });
    assert.equal(error.docs, "docs/errors/CALL_NOT_FOUND.md");
    assert.match(error.nextStep, /^Check the id.*docs\/errors\/CALL_NOT_FOUND\.md/);
    assert.match(`${error}`, /NOT_FOUND CALL_NOT_FOUND: no such call/);
    assert.equal(VoiceBridgeError.from(error), error);
  });
});
