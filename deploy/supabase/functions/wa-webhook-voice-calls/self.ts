// The style in which this function holds the signalling: the control plane places the call and answers the offer, the
// function talks to Graph and tells how far it has come. Everything here happens behind the answer to Meta.
//
//   connect    StartSession -> pre_accept -> ANSWER_DELIVERED -> transport up -> accept, identical SDP -> ACCEPTED
//   terminate  EndCall, and the call's row
//
// A function does not live as long as a call. When the AI hangs up, the control plane does it at Graph itself, or asks for
// it at `/callback`.

import { isMediaTimeout } from "../_shared/summaries.ts";
import { reasonOf } from "../_shared/bridge.ts";
import { since } from "../_shared/log.ts";
import type { Terminate } from "../_shared/webhook.ts";
import { Answering } from "./answering.ts";
import type { Delivery, SelfContext } from "./context.ts";
import { record } from "./ending.ts";

export function take(delivery: Delivery, context: SelfContext): void {
  for (const notice of delivery.notices) {
    if (notice.kind === "ignored") continue;
    const log = context.log.with({ callId: notice.callId });
    context.background.run(
      log,
      () =>
        notice.kind === "connect"
          ? new Answering(notice, delivery.receivedAt, { ...context, log }).run()
          : terminate(notice, delivery.receivedAt, { ...context, log }),
    );
  }
}

/** Meta's word that a call is over. One that is not known yet is remembered by the control plane: its connect may come. */
async function terminate(end: Terminate, receivedAt: number, context: SelfContext): Promise<void> {
  const { bridge, log } = context;
  log.info("WA_CALL_TERMINATE", { failed: end.failed, code: end.errorCode });
  const failed = end.errorCode !== undefined || (end.failed && end.startTime !== undefined);
  const reason = isMediaTimeout(end.errorCode) ? "MEDIA_TIMEOUT" : failed ? "META_FAILED" : "USER_HANGUP";
  try {
    const stands = await bridge.end(end.callId, reason);
    const [event, why] = stands === undefined
      ? ["CALL_ENDED_BEFORE_IT_BEGAN", undefined]
      : ["CALL_ENDED", stands.reason];
    log.info(event, { reason: why, elapsedMs: since(receivedAt) });
  } catch (error) {
    log.error("CALL_NOT_ENDED", { reason: reasonOf(error), ...log.failure(error) });
  }
  await record(end, context, log);
}
