// Envelope and signature, by table.

import assert, { deepEqual as assertEquals, throws } from "node:assert/strict";

import { sameSecret, signed } from "../functions/_shared/signature.ts";
import { fields, MalformedError, notices } from "../functions/_shared/webhook.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("the signature is HMAC-SHA256 over the bytes as they came", async () => {
  // RFC 4231, test case 2.
  const body = bytes("what do ya want for nothing?");
  const right = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  assert(await signed("Jefe", body, right));
  assert(await signed("Jefe", body, right.toUpperCase().replace("SHA256", "sha256")));
  for (const wrong of [null, "", right.slice(0, -1), `${right}0`, right.replace("5b", "5c"), right.slice(7)]) {
    assert(!await signed("Jefe", body, wrong), String(wrong));
  }
  assert(!await signed("Jefe", bytes("what do ya want for nothing!"), right));
  assert(!await signed("Jeff", body, right));
});

Deno.test("secrets are compared whole", async () => {
  assert(await sameSecret("verify", "verify"));
  for (const other of ["", "verif", "verify ", "Verify"]) assert(!await sameSecret("verify", other), other);
});

const CALL = {
  id: "wacid.X=",
  event: "connect",
  from: "5511900000001",
  from_user_id: "BR.13",
  timestamp: "1790000000",
  direction: "USER_INITIATED",
  session: { sdp_type: "offer", sdp: "v=0\r\n" },
};

function delivery(...values: unknown[]): Uint8Array {
  const changes = values.map((value) => ({ field: "calls", value }));
  return bytes(JSON.stringify({ object: "whatsapp_business_account", entry: [{ id: "1", changes }] }));
}

function value(call: unknown, more: Record<string, unknown> = {}): unknown {
  return { messaging_product: "whatsapp", metadata: { phone_number_id: "106" }, calls: [call], ...more };
}

Deno.test("a connect is read with what is known of the caller", () => {
  const contacts = [{ wa_id: "5511900000001", user_id: "BR.13", profile: { name: "Ana Fiúza" } }];
  assertEquals(notices(delivery(value(CALL, { contacts }))), [{
    kind: "connect",
    callId: "wacid.X=",
    phoneNumberId: "106",
    caller: { phoneNumber: "5511900000001", userId: "BR.13", name: "Ana Fiúza" },
    timestamp: 1_790_000_000,
    sdpOffer: "v=0\r\n",
    payloads: { deeplinkPayload: "", ctaPayload: "", bizOpaqueCallbackData: "" },
  }]);
  const hidden = { ...CALL, from: undefined };
  const [notice] = notices(delivery(value(hidden, { contacts: [{ user_id: "BR.13", profile: {} }] })));
  assert(notice?.kind === "connect");
  assertEquals(notice.caller, { phoneNumber: undefined, userId: "BR.13", name: undefined });
});

Deno.test("what comes along with a call is passed on, and no longer than it may be", () => {
  const payloads = {
    deeplink_payload: "campaign-7",
    cta_payload: "\u{1f338}".repeat(600),
    biz_opaque_callback_data: 9,
  };
  const [notice] = notices(delivery(value({ ...CALL, ...payloads })));
  assert(notice?.kind === "connect");
  assertEquals(notice.payloads, {
    deeplinkPayload: "campaign-7",
    ctaPayload: "\u{1f338}".repeat(512),
    bizOpaqueCallbackData: "",
  });
});

Deno.test("what comes along is clean before it is cut", () => {
  const check = (given: string, expected: string) => {
    const [notice] = notices(delivery(value({ ...CALL, deeplink_payload: given })));
    assert(notice?.kind === "connect");
    assertEquals(notice.payloads.deeplinkPayload, expected, JSON.stringify(given));
  };
  check('{"a":\n1}\u0000\u202e', '{"a":1}');
  check(`${"\u0000".repeat(512)}campaign-7 \u2066`, "campaign-7");
  check("job \ud83d", "job \ufffd");
  check(" \u0007 ", "");
});

Deno.test("a name is clean once it is through the door", () => {
  const check = (given: string, expected: string | undefined) => {
    const contacts = [{ wa_id: CALL.from, profile: { name: given } }];
    const [notice] = notices(delivery(value(CALL, { contacts })));
    assert(notice?.kind === "connect");
    assertEquals(notice.caller.name, expected, JSON.stringify(given));
  };
  check("José \u200f\u0000x\u202e\r\n", "José x");
  check("Ana \ud83d", "Ana \ufffd");
  check("Ana \ud83d\ude00", "Ana \u{1f600}");
  check("\u{1f468}\u200d\u{1f469}", "\u{1f468}\u200d\u{1f469}");
  check("\u0000\u2066 ", undefined);
  check("é".repeat(200), "é".repeat(128));
});

Deno.test("a contact that is somebody else's is not the caller's", () => {
  const contacts = [{ wa_id: "1", profile: { name: "Bea" } }, { wa_id: "2", profile: { name: "Cyd" } }];
  const [notice] = notices(delivery(value(CALL, { contacts })));
  assert(notice?.kind === "connect");
  assertEquals(notice.caller.name, undefined);
});

Deno.test("a terminate is read wherever Meta puts the error", () => {
  const call = { id: "X", event: "terminate", timestamp: "33", status: "Failed", start_time: "13", end_time: "33" };
  const expected = {
    kind: "terminate",
    callId: "X",
    phoneNumberId: "106",
    timestamp: 33,
    failed: true,
    errorCode: 138_021,
    startTime: 13,
    endTime: 33,
    durationS: 20,
  };
  const errors = [{ code: 138_021, title: "No media" }];
  assertEquals(notices(delivery(value({ ...call, duration: 20, errors }))), [expected]);
  assertEquals(notices(delivery(value({ ...call, duration: 20 }, { errors }))), [expected]);
  const unanswered = { id: "X", event: "terminate", status: "COMPLETED" };
  const [notice] = notices(delivery(value(unanswered)));
  assert(notice?.kind === "terminate");
  assertEquals([notice.failed, notice.startTime, notice.durationS], [false, undefined, undefined]);
});

Deno.test("batches become a notice for each, and none stops the others", () => {
  const [a, b] = [{ ...CALL, id: "A" }, { ...CALL, id: "B", event: "terminate" }];
  const found = notices(delivery(value(a), { calls: [null, { id: 7 }, b] }, { statuses: [{ id: "C" }] }, "junk"));
  assertEquals(found.map((notice) => [notice.kind, notice.callId]), [
    ["connect", "A"],
    ["ignored", undefined],
    ["ignored", undefined],
    ["terminate", "B"],
    ["ignored", "C"],
  ]);
});

Deno.test("what is not for us is passed over by name", () => {
  const check = (call: unknown, what: string) => {
    const [notice] = notices(delivery(value(call)));
    assertEquals(notice?.kind === "ignored" && notice.what, what);
  };
  check({ ...CALL, event: "call_created" }, "event call_created");
  check({ ...CALL, event: undefined }, "event (none)");
  check({ ...CALL, event: "a\nb" }, "event ab");
  check({ ...CALL, direction: "BUSINESS_INITIATED" }, "event connect of a business-initiated call");
  check({ ...CALL, session: { sdp_type: "answer", sdp: "v=0" } }, "event connect without an offer");
  check({ ...CALL, id: "x".repeat(513) }, "call without a usable id");
});

Deno.test("only an object is a delivery", () => {
  for (const body of ["", "{", "[]", "7", "null", '"x"']) throws(() => notices(bytes(body)), MalformedError, body);
  throws(() => notices(new Uint8Array([0x7b, 0xff, 0x7d])), MalformedError);
  for (const body of ["{}", '{"entry":7}', '{"entry":[7,{"changes":[null]}]}']) assertEquals(notices(bytes(body)), []);
});

Deno.test("fields are named once each", () => {
  const changes = ["calls", "messages", "calls", undefined].map((field) => ({ field }));
  assertEquals(fields(bytes(JSON.stringify({ entry: [{ changes }, { changes }] }))), ["calls", "messages", "(none)"]);
});

Deno.test("an oversized batch is cut", () => {
  const calls = Array.from({ length: 1200 }, (_, index) => ({ ...CALL, id: `c${index}` }));
  const found = notices(delivery({ calls }));
  assertEquals(found.length, 1001);
  assertEquals(found.at(-1), { kind: "ignored", callId: undefined, what: "rest of an oversized batch" });
});
