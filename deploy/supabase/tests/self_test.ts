// The edge function holds the signalling.

import { deepEqual as assertEquals } from "node:assert/strict";
import { createHmac } from "node:crypto";

import { SIGNATURE_HEADER } from "../functions/_shared/http.ts";
import { scenario, scenarios } from "./scenarios.ts";
import { assertNoViolations, granted, HANGS_UP_AT_ONCE } from "./talk.ts";

scenarios("self");

scenario("self: the same connect at two instances is one call", async (world) => {
  const another = await world.anotherInstance();
  const { callId, connect } = await world.simulator.call({ ...HANGS_UP_AT_ONCE, connect: "withheld" });
  const body = JSON.stringify({ entry: [{ changes: [{ field: "calls", value: connect }] }] });
  const signature = createHmac("sha256", world.simulator.introduction.appSecret).update(body).digest("hex");
  const deliver = async (url: string) => {
    const response = await fetch(url, { method: "POST", body, headers: { [SIGNATURE_HEADER]: `sha256=${signature}` } });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await Promise.all([deliver(world.callsUrl), deliver(another.url)]), [200, 200]);
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
  assertEquals(record.graph.length, 2, "and nobody asked Graph for more");
  assertNoViolations(record);
  assertEquals((await world.row(callId)).reason, "USER_HANGUP");
  const isDuplicate = (line: string) => line.includes("WA_CALL_DUPLICATE") && line.includes(callId);
  await Promise.any([world.calls, another.process].map((it) => it.line("a duplicate to be told", isDuplicate)));
  const told = [world.calls, another.process].flatMap(({ lines }) => lines.filter(isDuplicate));
  assertEquals(told.length, 1);
  assertEquals(await another.process.stop(), 143);
});

scenario("self: the same connect with another profile leaves the call to whoever has it", async (world) => {
  await world.sql`insert into profiles (phone_number, name, language) values ('5511900000046', 'Ana', 'pt')`;
  const { callId, connect } = await world.simulator.call({ script: ["listen"], from: "5511900000046" });
  await world.logged("MEDIA_BRIDGE_ACTIVE", callId);
  await world.sql`update profiles set name = 'Bia' where phone_number = '5511900000046'`;
  assertEquals((await world.simulator.deliver([connect])).status, 200);
  await world.logged("WA_CALL_DUPLICATE", callId);
  await world.simulator.hangUp(callId);
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["Caller", ["pre_accept", "accept"]]);
  assertEquals(record.graph.length, 2, "and nobody turned it down");
  assertEquals((await world.row(callId)).reason, "USER_HANGUP");
});
