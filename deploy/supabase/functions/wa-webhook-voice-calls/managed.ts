// The style in which the control plane holds the signalling: it gets the delivery as it came, with how the AI is to
// behave, and does the rest. When a call is over, its row is written.

import { agentFor, type CallerAgent, MAX_AGENTS, NoticeOutcome, Progress, reasonOf } from "../_shared/bridge.ts";
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
  const agents = await agentsOf(connects, context);
  let outcomes: Map<string, NoticeOutcome>;
  try {
    outcomes = await bridge.handleWebhook(delivery.raw, delivery.signature, agents, delivery.receivedAt);
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

/** Of those who are known; all are looked up at once, so that a delivery takes no longer than its slowest caller. */
async function agentsOf(connects: Connect[], { settings, sql, log }: Context): Promise<CallerAgent[]> {
  if (connects.length > MAX_AGENTS) log.warn("PROFILES_PASSED_OVER", { calls: connects.length - MAX_AGENTS });
  const found = await Promise.all(
    connects.slice(0, MAX_AGENTS).map(async ({ caller, callId }) => {
      const agent = agentFor(await lookUp(settings.database, sql, caller, log.with({ callId })));
      return agent && { caller, agent };
    }),
  );
  return found.filter((known) => known !== undefined);
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
    const { reached } = await bridge.wait(callId, [Progress.ENDED], Date.now() + CLOSED_WITHIN_MS);
    if (!reached.has(Progress.ENDED)) log.warn("CALL_END_NOT_SEEN", { callId });
  } catch (error) {
    log.warn("CALL_END_NOT_SEEN", { callId, reason: reasonOf(error), ...log.failure(error) });
  }
}
