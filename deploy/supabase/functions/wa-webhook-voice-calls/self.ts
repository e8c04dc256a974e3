// The style in which this function holds the signalling: the control plane places the call and answers the offer, the
// function talks to Graph and tells how far it has come. Meta has its answer once the control plane has the beginning or
// the end of the call, or Graph was told that nobody takes it; the rest happens behind that.
//
//   connect    StartSession -> pre_accept -> ANSWER_DELIVERED -> transport up -> accept, identical SDP -> ACCEPTED
//   terminate  EndCall, and the call's row
//
// A function does not live as long as a call. When the AI hangs up, the control plane does it at Graph itself, or asks for
// it at `/callback`.

import { isMediaTimeout } from "../_shared/summaries.ts";
import { EndReason, reasonOf } from "../_shared/bridge.ts";
import { since } from "../_shared/log.ts";
import type { Connect, Terminate } from "../_shared/webhook.ts";
import { Answering } from "./answering.ts";
import type { Delivery, SelfContext } from "./context.ts";
import { record } from "./ending.ts";

/** Whether all of the delivery was taken. */
export async function take(delivery: Delivery, context: SelfContext): Promise<boolean> {
  const { notices, receivedAt } = delivery;
  // All to their end: what one of them throws is not the others'.
  const taken = await Promise.allSettled(notices.map(async (notice) => {
    if (notice.kind === "ignored") return true;
    const its = { ...context, log: context.log.with({ callId: notice.callId }) };
    return await (notice.kind === "connect" ? begin(notice, receivedAt, its) : terminate(notice, receivedAt, its));
  }));
  for (const one of taken) {
    if (one.status === "rejected") context.log.error("WORK_FAILED", context.log.failure(one.reason));
  }
  return taken.every((one) => one.status === "fulfilled" && one.value);
}

/** The control plane has the call, or Graph was told that nobody takes it. */
async function begin(connect: Connect, receivedAt: number, context: SelfContext): Promise<boolean> {
  const answering = new Answering(connect, receivedAt, context);
  const begun = await answering.begin();
  if (typeof begun === "object") context.background.run(context.log, () => answering.answer(begun));
  return begun !== "nobody";
}

/** Meta's word that a call is over. One that is not known yet is remembered by the control plane: its connect may come. */
async function terminate(end: Terminate, receivedAt: number, context: SelfContext): Promise<boolean> {
  const { bridge, log, background } = context;
  log.info("WA_CALL_TERMINATE", { failed: end.failed, code: end.errorCode });
  const failed = end.errorCode !== undefined || (end.failed && end.startTime !== undefined);
  const reason = isMediaTimeout(end.errorCode)
    ? EndReason.MEDIA_TIMEOUT
    : failed
    ? EndReason.META_FAILED
    : EndReason.USER_HANGUP;
  let taken = true;
  try {
    const stands = await bridge.end(end.callId, reason, receivedAt);
    const [event, why] = stands === undefined
      ? ["CALL_ENDED_BEFORE_IT_BEGAN", undefined]
      : ["CALL_ENDED", stands.reason];
    log.info(event, { reason: why, elapsedMs: since(receivedAt) });
  } catch (error) {
    log.error("CALL_NOT_ENDED", { reason: reasonOf(error), ...log.failure(error) });
    taken = false;
  }
  background.run(log, () => record(end, context, log));
  return taken;
}
