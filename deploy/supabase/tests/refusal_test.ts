// The AI turns the call down: nobody is left ringing.

import { deepEqual as assertEquals } from "node:assert/strict";

import { inWorld, scenario } from "./scenarios.ts";
import { granted } from "./talk.ts";

inWorld({ mode: "self", refuseAi: 401 });

scenario("self: the AI refuses, and the caller is turned down", async (world) => {
  const { callId } = await world.simulator.call({ script: ["listen"] });
  const record = await world.simulator.finish(callId);
  assertEquals([record.endedBy, granted(record)], ["BusinessRejected", ["pre_accept", "reject"]]);
  assertEquals(record.violations, []);
  const row = await world.row(callId);
  assertEquals([row.result, row.reason, row.accepted_at, row.duration_ms], [
    "failed",
    "PROVIDER_SESSION_FAILED",
    null,
    null,
  ]);
});
