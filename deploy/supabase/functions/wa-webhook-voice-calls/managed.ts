// The style in which the control plane holds the signalling: it gets the delivery as it came, with how the AI is to
// behave, and does the rest. When a call is over, its row is written.

import { agentFor, EventKind, NoticeOutcome, reasonOf } from "../_shared/bridge.ts";
import { since } from "../_shared/log.ts";
import { lookUp } from "../_shared/profiles.ts";
import type { Connect, Terminate } from "../_shared/webhook.ts";
import type { Context, Delivery } from "./context.ts";
import { record } from "./ending.ts";

/** The control plane closes a call's record within 30 s of its end, whatever Graph and the node say. */
const CLOSED_WITHIN_MS = 35_000;

/** Whether the control plane took the delivery. What follows the end of a call goes on behind the answer. */
export async function take(delivery: Delivery, context: Context): Promise<boolean> {
  const { bridge, log, background } = context;
  const elapsed = () => since(delivery.receivedAt);
  const connects = delivery.notices.filter((notice): notice is Connect => notice.kind === "connect");
  for (const { callId } of connects) log.info("WA_CALL_CONNECT", { callId, mode: "managed", elapsedMs: elapsed() });
  const agent = await agentOf(connects, context);
  let outcomes: Map<string, NoticeOutcome>;
  try {
    outcomes = await bridge.handleWebhook(delivery.raw, delivery.signature, agent, delivery.receivedAt);
  } catch (error) {
    log.error("WEBHOOK_NOT_TAKEN", { elapsedMs: elapsed(), reason: reasonOf(error), ...log.failure(error) });
    return false;
  }
  for (const [callId, outcome] of outcomes) {
    log.info("WEBHOOK_TAKEN", { callId, outcome: word(outcome), elapsedMs: elapsed() });
  }
  for (const notice of delivery.notices) {
    if (notice.kind === "terminate") {
      background.run(log.with({ callId: notice.callId }), () => finish(notice, outcomes.get(notice.callId), context));
    }
  }
  return true;
}

/** One delivery has one agent: with several callers in it, nobody's profile is told to another's AI. */
async function agentOf(connects: Connect[], { settings, sql, log }: Context) {
  const [connect, another] = connects;
  if (connect === undefined) return undefined;
  if (another !== undefined) {
    log.info("PROFILES_PASSED_OVER", { calls: connects.length });
    return undefined;
  }
  return agentFor(await lookUp(settings.database, sql, connect.caller, log.with({ callId: connect.callId })));
}

async function finish(end: Terminate, outcome: NoticeOutcome | undefined, context: Context): Promise<void> {
  const log = context.log.with({ callId: end.callId });
  log.info("WA_CALL_TERMINATE", { outcome: word(outcome), failed: end.failed, code: end.errorCode });
  if (outcome === NoticeOutcome.TERMINATED) await closed(end.callId, context);
  await record(end, context, log);
}

/** For the log. */
function word(outcome: NoticeOutcome | undefined): string | undefined {
  return outcome === undefined ? undefined : NoticeOutcome[outcome]?.toLowerCase();
}

/** Waits for the end of the call's record. */
async function closed(callId: string, { bridge, log }: Context): Promise<void> {
  try {
    const events = bridge.events(callId, [EventKind.CALL_ENDED], AbortSignal.timeout(CLOSED_WITHIN_MS));
    for await (const event of events) if (event.kind.case === "callEnded") return;
  } catch (error) {
    log.warn("CALL_END_NOT_SEEN", { callId, reason: reasonOf(error), ...log.failure(error) });
  }
}
