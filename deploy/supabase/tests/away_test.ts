// What is not there: the database, the control plane, Graph, settings.

import assert, { deepEqual as assertEquals } from "node:assert/strict";

import { inWorld, scenario, terminateAgain } from "./scenarios.ts";
import { granted, HANGS_UP_AT_ONCE } from "./talk.ts";
import { listening, startFunction } from "./world.ts";

inWorld({
  mode: "self",
  functions: {
    VOICE_BRIDGE_STORE_TRANSCRIPTS: "yes",
    VOICE_BRIDGE_PROFILES_TABLE: "public.nowhere",
    VOICE_BRIDGE_RETRY_MS: "1000",
  },
});

scenario("a table that is not there costs the call nothing, and words are kept when asked for", async (world) => {
  const { callId } = await world.simulator.call({ script: [{ wait_heard: 700 }, "hang_up"] });
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
  assertEquals((await world.logged("PROFILE_UNAVAILABLE", callId)).errorCode, "42P01");
  const { transcript } = await world.row(callId);
  const text = "Hello, you have reached the shop. How can I help you today?";
  assertEquals(transcript, [{ speaker: "agent", text, interrupted: false }]);
});

scenario("a call goes on without the database", async (world) => {
  world.cluster.gate.shut();
  const { callId } = await world.simulator.call({ ...HANGS_UP_AT_ONCE, from: "5511900000042" });
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
  await world.logged("CALL_SUMMARY_NOT_WRITTEN", callId);
  const missed = world.events(callId).filter((event) => event === "PROFILE_UNAVAILABLE" || event === "PROFILE_LATE");
  assertEquals(missed.length, 1, world.events(callId).join());
  world.cluster.open();
  // And the next one has its row again.
  const later = await world.simulator.call(HANGS_UP_AT_ONCE);
  await world.simulator.finish(later.callId);
  assertEquals((await world.row(later.callId)).reason, "USER_HANGUP");
});

scenario("no control plane: the caller is turned down, and the row says what Meta said", async (world) => {
  world.bridge.shut();
  const { callId } = await world.simulator.call({ script: ["listen"] });
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["BusinessRejected", ["reject"]]);
  const row = await world.row(callId);
  assertEquals([row.result, row.reason, row.received_at], ["abandoned", "CALLER_ABANDONED", null]);
  world.openBridge();
});

scenario("a hang-up that the control plane did not take is delivered again until it has", async (world) => {
  const { callId } = await world.simulator.call({ script: [{ wait_heard: 700 }, { silence: 1500 }, "hang_up"] });
  await world.logged("MEDIA_BRIDGE_ACTIVE", callId);
  world.bridge.shut();
  await world.logged("CALL_NOT_ENDED", callId);
  world.openBridge();
  await world.logged("CALL_ENDED", callId);
});

scenario("a row keeps what the control plane said when Meta's word alone comes after it", async (world) => {
  const dialled = await world.simulator.call(HANGS_UP_AT_ONCE);
  await world.simulator.finish(dialled.callId);
  const row = await world.row(dialled.callId);
  assertEquals([row.result, row.reason], ["completed", "USER_HANGUP"]);
  world.bridge.shut();
  const again = await terminateAgain(world, dialled, 503);
  world.openBridge();
  await world.logged("CALL_RECORD_UNAVAILABLE", dialled.callId);
  assertEquals({ ...again, updated_at: null }, { ...row, updated_at: null });
});

scenario("Graph away for one request is asked again", async (world) => {
  const { callId } = await world.simulator.call({
    ...HANGS_UP_AT_ONCE,
    faults: [{ action: "pre_accept", refuse: 503, times: 1 }],
  });
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
  await world.row(callId);
});

scenario("Graph refuses accept: both sides end, with Meta's own words in the log", async (world) => {
  const { callId } = await world.simulator.call({
    script: ["listen"],
    faults: [{ action: "accept", refuse: 138_004 }],
  });
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["BusinessRejected", ["pre_accept", "reject"]]);
  const line = await world.logged("GRAPH_REFUSED", callId);
  assertEquals([line.action, line.code], ["accept", 138_004]);
  assert(String(line.details).startsWith("refused on demand"), String(line.details));
  assert(typeof line.fbtraceId === "string" && line.fbtraceId.length > 0);
  assertEquals((await world.row(callId)).reason, "GRAPH_REFUSED");
});

scenario(
  "Graph takes neither accept nor reject: the caller gives up, and the session is not left over",
  async (world) => {
    const { callId } = await world.simulator.call({
      script: ["listen"],
      hangUpWhileRingingMs: 3000,
      faults: [{ action: "accept", refuse: 503 }, { action: "reject", refuse: 503 }, {
        action: "terminate",
        refuse: 503,
      }],
    });
    const record = await world.simulator.finish(callId);
    assertEquals([record.endedBy, granted(record)], ["CallerAbandoned", ["pre_accept"]]);
    const row = await world.row(callId);
    assertEquals([row.result, row.reason, row.accepted_at], ["failed", "GRAPH_REFUSED", null]);
  },
);

scenario("functions without settings say which", async () => {
  const expected = {
    "wa-webhook-core": ["WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN", "SUPABASE_URL"],
    "wa-webhook-voice-calls": ["WHATSAPP_APP_SECRET", "VOICE_BRIDGE_URL", "WHATSAPP_ACCESS_TOKEN"],
  };
  for (const [name, variables] of Object.entries(expected)) {
    const process = startFunction(name, { VOICE_BRIDGE_MODE: "self" });
    const answer = await fetch(await listening(process), { method: "POST", body: "{}" });
    const { reason, message } = await answer.json();
    assertEquals([answer.status, reason], [503, "NOT_CONFIGURED"]);
    for (const variable of variables) assert(message.includes(variable), message);
    await process.stop();
  }
});
