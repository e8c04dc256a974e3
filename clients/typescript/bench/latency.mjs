// Measures how long an event takes from a media node into the hands of a subscriber in this language.
//
//   node bench/latency.mjs [EVENTS] [node|web]
//
// Follows all calls of the control plane at VOICE_BRIDGE_URL, as VOICE_BRIDGE_API_KEY, until so many events (default 100) were
// measured, and prints one line of JSON: {"client", "events", "p50_ms", "p95_ms"}. Somebody has to make calls meanwhile. Only
// events of media nodes count, and only those that happened after the first event was here: the stream is live then. The
// nodes' clock must be this machine's. Wants dist (`npm run build`).

import { performance } from "node:perf_hooks";

const [events = "100", transport = "node"] = process.argv.slice(2);
const { VoiceBridge } = await import(transport === "web" ? "@voicebridge/client" : "@voicebridge/client/node");
const { VOICE_BRIDGE_URL: url, VOICE_BRIDGE_API_KEY: apiKey } = process.env;

/** Wall clock with the resolution of the monotonic one. */
const nowMs = () => performance.timeOrigin + performance.now();
// The monotonic clock's origin is as exact as the wall clock was read at start: to the millisecond or better.
const delays = [];
let liveSinceMs;
for await (const { event } of new VoiceBridge({ url, apiKey }).follow()) {
  if (event === undefined) continue;
  const hereMs = nowMs();
  const { seconds, nanos } = event.occurredAt;
  const occurredMs = Number(seconds) * 1_000 + nanos / 1e6;
  if (liveSinceMs === undefined) liveSinceMs = hereMs;
  else if (event.node !== "" && occurredMs > liveSinceMs) delays.push(hereMs - occurredMs);
  if (delays.length === Number(events)) break;
}
delays.sort((a, b) => a - b);
const percentile = (share) => Number(delays[Math.ceil(share * delays.length) - 1].toFixed(2));
const client = transport === "web" ? "typescript, gRPC-web" : "typescript, gRPC";
console.log(JSON.stringify({ client, events: delays.length, p50_ms: percentile(0.5), p95_ms: percentile(0.95) }));
