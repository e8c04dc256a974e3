// How long the self-signalling functions themselves take from Meta's webhook to Graph's pre_accept: measured by the
// simulated Meta, from sending the one to receiving the other, less what StartSession took. Both functions, the profile's
// lookup and HTTP between all of them are in it.

import { HANGS_UP_AT_ONCE } from "./talk.ts";
import { World } from "./world.ts";

/** Of the 95th percentile. */
const TARGET_MS = 60;
const CALLS = 60;
/** The first calls meet functions and pools that have just begun; told apart. */
const COLD = 3;

// Ports rest after a call; there are more calls here than a test's node has ports.
const world = await World.start({ mode: "self", node: { VOICEBRIDGE_UDP_PORTS: "20000-29999" } });
const own: number[] = [];
try {
  await world.sql`insert into profiles (phone_number, name) values ('5511900000042', 'Ana Fiúza')`;
  for (let call = 0; call < COLD + CALLS; call += 1) {
    const { callId } = await world.simulator.call({ ...HANGS_UP_AT_ONCE, from: "5511900000042" });
    const record = await world.simulator.finish(callId);
    const { tookMs } = await world.logged("VOICE_BRIDGE_SESSION_CREATED", callId);
    const received = record.timelineMs.PreAcceptReceived;
    if (received === undefined || typeof tookMs !== "number") throw new Error(`call ${callId} was not pre-accepted`);
    own.push(received - tookMs);
  }
} finally {
  await world.stop();
}

const cold = own.splice(0, COLD);
own.sort((a, b) => a - b);
const percentile = (share: number) => own[Math.ceil(share * own.length) - 1] ?? NaN;
const p95 = percentile(0.95);
const figures = `p50 ${percentile(0.5).toFixed(1)}, p95 ${p95.toFixed(1)}, longest ${percentile(1).toFixed(1)} ms`;
console.log(
  `edge function, webhook to pre_accept beside StartSession, ${CALLS} calls: ${figures} (first: ${
    cold[0]?.toFixed(1)
  } ms)`,
);
console.log(`${p95 <= TARGET_MS ? "ok  " : "MISS"} edge pre_accept p95 ${p95.toFixed(1)} ms <= ${TARGET_MS} ms`);
if (p95 > TARGET_MS) Deno.exit(1);
