// What both styles do when a call is over: its row.

import { type Call, reasonOf } from "../_shared/bridge.ts";
import type { Log } from "../_shared/log.ts";
import { summarise, write } from "../_shared/summaries.ts";
import type { Terminate } from "../_shared/webhook.ts";
import type { Context } from "./context.ts";

/** Writes the call's row, from Meta's words alone when the control plane has none. */
export async function record(end: Terminate, { settings, bridge, sql }: Context, log: Log): Promise<void> {
  if (settings.database?.summaries === undefined || sql === undefined) return;
  let call: Call | undefined;
  try {
    call = await bridge.call(end.callId);
  } catch (error) {
    log.warn("CALL_RECORD_UNAVAILABLE", { reason: reasonOf(error), ...log.failure(error) });
  }
  const summary = summarise(settings.mode, end, call, settings.database.transcripts);
  try {
    await write(settings.database, sql, summary, call === undefined ? "meta" : "control plane");
    const { result, reason, duration_ms } = summary;
    log.info("CALL_SUMMARY_WRITTEN", { result, reason, durationMs: duration_ms ?? undefined });
  } catch (error) {
    log.error("CALL_SUMMARY_NOT_WRITTEN", log.failure(error));
  }
}
