// What both styles do when a call is over: its row.

import { type Bridge, type Call, reasonOf, type Transcript } from "../_shared/bridge.ts";
import type { Log } from "../_shared/log.ts";
import { type Known, summarise, write } from "../_shared/summaries.ts";
import type { Terminate } from "../_shared/webhook.ts";
import type { Context } from "./context.ts";

/** Writes the call's row, from Meta's words alone when the control plane has none. */
export async function record(end: Terminate, { settings, bridge, sql }: Context, log: Log): Promise<void> {
  if (settings.database?.summaries === undefined || sql === undefined) return;
  let known: Known | undefined;
  try {
    const call = await bridge.call(end.callId);
    if (call !== undefined) known = { call, said: await saidOn(call, bridge, log) };
  } catch (error) {
    log.warn("CALL_RECORD_UNAVAILABLE", { reason: reasonOf(error), ...log.failure(error) });
  }
  const summary = summarise(settings.mode, end, known, settings.database.transcripts);
  try {
    await write(settings.database, sql, summary, known === undefined ? "meta" : "control plane");
    const { result, reason, duration_ms } = summary;
    log.info("CALL_SUMMARY_WRITTEN", { result, reason, durationMs: duration_ms ?? undefined });
  } catch (error) {
    log.error("CALL_SUMMARY_NOT_WRITTEN", log.failure(error));
  }
}

/** All that was said; `undefined` when that cannot be told: the rest of the record is worth its row. */
async function saidOn({ callId }: Call, bridge: Bridge, log: Log): Promise<Transcript[] | undefined> {
  try {
    return await bridge.transcripts(callId);
  } catch (error) {
    log.warn("CALL_TRANSCRIPTS_UNAVAILABLE", { reason: reasonOf(error), ...log.failure(error) });
    return undefined;
  }
}
