// What must come out alike whoever holds the signalling. Each style's test file runs all of it.

import assert, { deepEqual as assertEquals, match as assertMatch } from "node:assert/strict";

import { MAX_BODY_BYTES } from "../functions/_shared/http.ts";
import type { Mode } from "../functions/_shared/settings.ts";
import type { Dialled } from "./simulator.ts";
import {
  ASKS_ONE_QUESTION,
  assertHeard,
  assertNoViolations,
  assertUnderstood,
  granted,
  HANGS_UP_AT_ONCE,
  SAYS_GOODBYE,
} from "./talk.ts";
import { type Setup, World } from "./world.ts";

/** Meta's bar, and what a busy test machine may add. */
const ANSWERED_WITHIN_MS = 1000;

const PROFILE_LIMIT_MS = 2000;

const AGENT = `
instructions: You answer the phone of a shop. The caller is called [{{name}}] and speaks [{{language}}].
`;

let world: World | undefined;

/** The world of this test file. */
export function inWorld(setup: Setup): () => World {
  Deno.test.beforeAll(async () => {
    world = await World.start(setup);
  });
  Deno.test.afterAll(async () => {
    await world?.stop();
  });
  return () => {
    if (world === undefined) throw new Error("the world did not start");
    return world;
  };
}

/** One test in the file's world. When it fails, what the processes logged last is shown. */
export function scenario(name: string, run: (world: World) => Promise<void>): void {
  // Processes and connections are the file's, not one test's.
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      if (world === undefined) throw new Error("the world did not start");
      try {
        await run(world);
      } catch (error) {
        for (const process of [world.core, world.calls, world.control, world.node]) console.error(process.tail());
        throw error;
      }
    },
  });
}

export function scenarios(mode: Mode): void {
  // A busy test machine may take long to connect to the database.
  const functions = { VOICE_BRIDGE_PROFILE_TIMEOUT_MS: String(PROFILE_LIMIT_MS) };
  inWorld({ mode, agent: AGENT, functions });

  scenario(`${mode}: a call with audio both ways, told who calls, and its row`, async (world) => {
    await world.sql`insert into profiles (phone_number, name, language) values ('5511900000042', 'Ana Fiúza', 'pt-BR')`;
    const before = (await world.simulator.sessions()).length;
    const { callId } = await world.simulator.call({ ...ASKS_ONE_QUESTION, from: "5511900000042" });
    const record = await world.simulator.finish(callId);
    assertEquals(record.endedBy, "Caller");
    assertEquals(granted(record), ["pre_accept", "accept"]);
    assertEquals(record.sdpAccept, record.sdpPreAccept, "accept carries the SDP of pre_accept");
    assertHeard(record, ["welcome", "open-from-nine"]);
    const row = await world.row(callId);
    const session = (await world.simulator.sessions())[before];
    assert(session !== undefined);
    assertUnderstood(session, ["opening-hours"]);
    assertNoViolations(record, session);
    assertMatch(session.instructions, /\[Ana Fiúza\].*\[pt-BR\]/);

    assertEquals([row.result, row.reason, row.mode, row.phone_number_id], [
      "completed",
      "USER_HANGUP",
      mode,
      world.simulator.introduction.phoneNumberId,
    ]);
    const [received, accepted, ended] = [row.received_at, row.accepted_at, row.ended_at] as Date[];
    assert(received && accepted && ended && received <= accepted && accepted < ended);
    assertEquals(Number(row.duration_ms), ended.getTime() - accepted.getTime());
    assertEquals([row.transcript_entries, row.transcript], [3, null], "how much was said, not what");
    assert(Number(row.transcript_characters) > 100);
    assert((row.usage as Record<string, number>).output_audio_tokens! > 0);
    for (const mos of [row.mos_uplink, row.mos_downlink]) assert(Number(mos) > 3.5 && Number(mos) <= 4.5, String(mos));

    const events = world.events(callId);
    assertEquals(events[0], "WA_CALL_CONNECT");
    assert(events.includes("PROFILE_LOOKED_UP") && events.at(-1) === "CALL_SUMMARY_WRITTEN", events.join());
  });

  scenario(`${mode}: Meta is answered at once`, async (world) => {
    const { callId } = await world.simulator.call(HANGS_UP_AT_ONCE);
    await world.simulator.finish(callId);
    await world.row(callId);
    const mine = (await world.simulator.webhooks()).filter((webhook) => webhook.callIds.includes(callId));
    assertEquals(mine.map((webhook) => [webhook.events, webhook.status, webhook.attempt]), [
      ["connect", 200, 1],
      ["terminate", 200, 1],
    ]);
    for (const webhook of mine) assert(webhook.elapsedMs < ANSWERED_WITHIN_MS, `${webhook.elapsedMs} ms`);
  });

  scenario(`${mode}: a caller without a profile is answered without one`, async (world) => {
    const before = (await world.simulator.sessions()).length;
    const { callId } = await world.simulator.call({ ...HANGS_UP_AT_ONCE, from: "5511900000043" });
    await world.simulator.finish(callId);
    await world.row(callId);
    assertEquals((await world.logged("PROFILE_LOOKED_UP", callId)).found, false);
    assertMatch((await world.simulator.sessions())[before]?.instructions ?? "", /\[\].*\[\]/);
  });

  scenario(`${mode}: a profile that takes too long is not waited for`, async (world) => {
    const locked = Promise.withResolvers<void>();
    const over = Promise.withResolvers<void>();
    const holding = world.sql.begin(async (sql) => {
      await sql`lock table profiles in access exclusive mode`;
      locked.resolve();
      await over.promise;
    });
    await locked.promise;
    const { callId } = await world.simulator.call(HANGS_UP_AT_ONCE);
    const record = await world.simulator.finish(callId);
    over.resolve();
    await holding;
    assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
    assertEquals((await world.logged("PROFILE_LATE", callId)).limitMs, PROFILE_LIMIT_MS);
    assert((record.timelineMs.PreAcceptReceived ?? 0) >= PROFILE_LIMIT_MS);
    assert((record.timelineMs.ConnectAnswered ?? Infinity) < PROFILE_LIMIT_MS + ANSWERED_WITHIN_MS);
    await world.row(callId);
  });

  scenario(`${mode}: the AI hangs up, and Meta is told`, async (world) => {
    const { callId } = await world.simulator.call(SAYS_GOODBYE);
    const record = await world.simulator.finish(callId);
    assertEquals(record.endedBy, "BusinessTerminated");
    assertEquals(granted(record), ["pre_accept", "accept", "terminate"]);
    assertHeard(record, ["welcome", "farewell-en"]);
    const row = await world.row(callId);
    assertEquals([row.result, row.reason], ["completed", "AGENT_HANGUP"]);
  });

  scenario(`${mode}: a connect delivered three times is one call`, async (world) => {
    const before = (await world.simulator.sessions()).length;
    const { callId, connect } = await world.simulator.call({ ...HANGS_UP_AT_ONCE, connect: { copies: 3 } });
    const record = await world.simulator.finish(callId);
    assertEquals(record.endedBy, "Caller");
    assertEquals(granted(record), ["pre_accept", "accept"]);
    await world.row(callId);
    // And once more when it is over.
    assertEquals((await world.simulator.deliver([connect])).status, 200);
    const later = await world.simulator.call(HANGS_UP_AT_ONCE);
    assertEquals((await world.simulator.finish(later.callId)).endedBy, "Caller");
    assertEquals((await world.simulator.sessions()).length, before + 2, "one AI session for each call");
    await world.row(later.callId);
  });

  scenario(`${mode}: a terminate delivered twice is one row`, async (world) => {
    const { callId, connect } = await world.simulator.call(HANGS_UP_AT_ONCE);
    await world.simulator.finish(callId);
    const row = await world.row(callId);
    const again = await terminateAgain(world, { callId, connect });
    assertEquals({ ...again, updated_at: null }, { ...row, updated_at: null });
  });

  scenario(`${mode}: two calls in one delivery are two calls, each told who calls`, async (world) => {
    await world.sql`insert into profiles (phone_number, name, language) values
      ('5511900000051', 'Bia', 'pt-BR'), ('5511900000052', 'Raj', 'hi-IN')`;
    const before = (await world.simulator.sessions()).length;
    const dialled = await world.simulator.batch([
      { ...ASKS_ONE_QUESTION, from: "5511900000051" },
      { ...HANGS_UP_AT_ONCE, from: "5511900000052" },
    ]);
    for (const { callId } of dialled) {
      const record = await world.simulator.finish(callId);
      assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
      assertEquals((await world.row(callId)).reason, "USER_HANGUP");
    }
    const told = (await world.simulator.sessions()).slice(before).map(({ instructions }) => instructions);
    for (const profile of [/\[Bia\].*\[pt-BR\]/, /\[Raj\].*\[hi-IN\]/]) {
      assertEquals(told.filter((instructions) => profile.test(instructions)).length, 1, told.join("\n"));
    }
  });

  scenario(`${mode}: a terminate that comes before its connect`, async (world) => {
    const before = (await world.simulator.sessions()).length;
    const { callId } = await world.simulator.call({ ...HANGS_UP_AT_ONCE, connect: "after_terminate" });
    const record = await world.simulator.finish(callId);
    assertEquals(record.endedBy, "CallerAbandoned");
    const row = await world.row(callId);
    assertEquals([row.result, row.reason, row.accepted_at], ["abandoned", "CALLER_ABANDONED", null]);
    // A call made later is answered, so the early one would have been by now.
    const later = await world.simulator.call(HANGS_UP_AT_ONCE);
    await world.simulator.finish(later.callId);
    assertEquals(record.graph, []);
    assertEquals((await world.simulator.sessions()).length, before + 1);
    await world.row(later.callId);
  });

  scenario(`${mode}: Graph refuses the answer`, async (world) => {
    const { callId } = await world.simulator.call({
      script: ["listen"],
      faults: [{ action: "pre_accept", refuse: 138_008 }],
    });
    const record = await world.simulator.finish(callId);
    assertEquals(record.endedBy, "BusinessRejected");
    const row = await world.row(callId);
    assertEquals([row.result, row.reason, row.duration_ms], ["failed", "GRAPH_REFUSED", null]);
  });

  scenario(`${mode}: a connect of two minutes ago is dropped`, async (world) => {
    const { callId } = await world.simulator.call({
      ...HANGS_UP_AT_ONCE,
      connect: { stale: 120 },
      hangUpWhileRingingMs: 1500,
    });
    await world.logged("WA_CALL_STALE", callId);
    const record = await world.simulator.finish(callId);
    assertEquals([record.endedBy, record.graph], ["CallerAbandoned", []]);
  });

  scenario(`${mode}: a call to another number of the app is somebody else's`, async (world) => {
    const { callId, connect } = await world.simulator.call({ script: ["listen"], connect: "withheld" });
    const metadata = { display_phone_number: "15550002222", phone_number_id: "106000000000002" };
    assertEquals((await world.simulator.deliver([{ ...connect, metadata }])).status, 200);
    await world.logged("WA_CALL_OTHER_NUMBER", callId);
    assertEquals(world.events(callId), ["WA_CALL_OTHER_NUMBER"]);
    await world.simulator.hangUp(callId);
    assertEquals((await world.simulator.finish(callId)).graph, []);
  });

  scenario(`${mode}: verification wants the word agreed`, async (world) => {
    const right = await world.simulator.verify();
    assertEquals([right.status, right.body], [200, right.challenge]);
    const wrong = await world.simulator.verify("another-token");
    assertEquals(wrong.status, 403);
    assert(!wrong.body.includes(wrong.challenge));
  });

  scenario(`${mode}: a forged delivery changes nothing`, async (world) => {
    const { callId, connect } = await world.simulator.call({ script: ["listen"], connect: "withheld" });
    for (const signing of ["wrong_secret", "missing"] as const) {
      assertEquals((await world.simulator.deliver([connect], signing)).status, 401);
    }
    // Around the core, too.
    const direct = await fetch(world.callsUrl, { method: "POST", body: JSON.stringify({ entry: [] }) });
    assertEquals([direct.status, (await direct.json()).reason], [401, "WEBHOOK_SIGNATURE_INVALID"]);
    assertEquals(world.events(callId), []);
    await world.simulator.hangUp(callId);
    await world.simulator.finish(callId);
  });

  scenario(`${mode}: what is no delivery is refused, what is unknown is passed over`, async (world) => {
    const deliver = async (body: string) => (await world.simulator.deliverRaw(body)).status;
    assertEquals(await deliver("{"), 400);
    assertEquals(await deliver("[]"), 400);
    assertEquals(await deliver(JSON.stringify({ entry: [{ changes: [{ field: "messages", value: {} }] }] })), 200);
    await world.core.line(
      "the field's name",
      (line) => line.includes("WEBHOOK_FIELD_IGNORED") && line.includes("messages"),
    );
    // As large as Meta's largest: 3 MB.
    const large = { entry: [{ changes: [{ field: "messages", value: { pad: "x".repeat(3 * 1024 * 1024 - 200) } }] }] };
    assertEquals(await deliver(JSON.stringify(large)), 200);
    const unknown = { calls: [{ id: "wacid.unknown", event: "call_recording_available" }] };
    assertEquals(await deliver(JSON.stringify({ entry: [{ changes: [{ field: "calls", value: unknown }] }] })), 200);
    await world.logged("WEBHOOK_NOTICE_IGNORED", "wacid.unknown");
    assertEquals(await deliver("x".repeat(MAX_BODY_BYTES + 1)), 413);
    const put = await fetch(world.coreUrl, { method: "PUT" });
    assertEquals([put.status, put.headers.get("allow")], [405, "GET, POST"]);
    await put.body?.cancel();
  });
}

/** Delivers the call's terminate once more; its row when it has been written again. */
export async function terminateAgain(
  world: World,
  { callId, connect }: Dialled,
  answered = 200,
): Promise<Record<string, unknown>> {
  const call = (connect.calls as Record<string, unknown>[])[0];
  const terminate = { ...connect, calls: [{ ...call, event: "terminate", status: "COMPLETED", session: undefined }] };
  const lines = world.calls.lines.length;
  assertEquals((await world.simulator.deliver([terminate])).status, answered);
  await written(world, callId, lines);
  return await world.row(callId);
}

/** Waits for a line of the call's row after the first `lines`. */
async function written(world: World, callId: string, lines: number): Promise<void> {
  let seen = 0;
  const there = world.calls.lines.slice(0, lines).filter((line) => mine(line, callId)).length;
  await world.calls.line("another writing of the row", (line) => {
    if (mine(line, callId)) seen += 1;
    return seen > there;
  });
}

function mine(line: string, callId: string): boolean {
  return line.includes("CALL_SUMMARY_WRITTEN") && line.includes(callId);
}
