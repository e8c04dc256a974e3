// What the control plane asks for when a self-held call has ended by itself and it has no token of Meta's: a hang-up at
// Graph. Signed as Standard Webhooks says (webhook-id, webhook-timestamp, webhook-signature). Asked twice, it is done once:
// Graph says that the call is over, and that is what was wanted.

import { Webhook, WebhookVerificationError } from "standardwebhooks";

import { graphFields, isGraphError } from "../_shared/graph.ts";
import { answer } from "../_shared/http.ts";
import type { Log } from "../_shared/log.ts";
import type { SelfContext } from "./context.ts";

interface TerminateRequired {
  callId: string;
  phoneNumberId: string | undefined;
  action: "terminate" | "reject";
  reason: string | undefined;
}

export async function callback(
  secret: string | undefined,
  context: SelfContext | undefined,
  headers: Headers,
  body: Uint8Array,
  log: Log,
): Promise<Response> {
  if (secret === undefined || context === undefined) {
    log.error("CALLBACK_NOT_CONFIGURED");
    return answer(
      503,
      "CALLBACK_NOT_CONFIGURED",
      "callbacks want VOICE_BRIDGE_MODE=self and VOICEBRIDGE_CALLBACK_SECRET",
    );
  }
  let event: unknown;
  try {
    event = new Webhook(secret).verify(new TextDecoder().decode(body), Object.fromEntries(headers));
  } catch (error) {
    if (error instanceof SyntaxError) return malformed(log, "the body is no JSON");
    if (!(error instanceof WebhookVerificationError)) throw error;
    log.warn("CALLBACK_SIGNATURE_INVALID", { error: error.message });
    return answer(401, "CALLBACK_SIGNATURE_INVALID", "the signature does not match, or is too old");
  }
  const { type, data } = Object(event) as { type?: unknown; data?: unknown };
  if (type !== "call.terminate_required") {
    log.info("CALLBACK_IGNORED", { type: log.clean(String(type)) });
    return new Response("ok");
  }
  const asked = read(data);
  if (asked === undefined) return malformed(log, "data wants wacid and action");
  return await hangUp(asked, context, log.with({ callId: asked.callId }));
}

function malformed(log: Log, message: string): Response {
  log.warn("CALLBACK_MALFORMED", { error: message });
  return answer(400, "CALLBACK_MALFORMED", message);
}

function read(data: unknown): TerminateRequired | undefined {
  const { wacid, callId: named, phoneNumberId, action, termination } = Object(data) as Record<string, unknown>;
  // A control plane of before has Meta's id as callId, and no other.
  const callId = wacid ?? named;
  if (typeof callId !== "string" || callId === "" || (action !== "terminate" && action !== "reject")) return undefined;
  const { reason } = Object(termination) as { reason?: unknown };
  return {
    callId,
    phoneNumberId: typeof phoneNumberId === "string" && phoneNumberId !== "" ? phoneNumberId : undefined,
    action,
    reason: typeof reason === "string" ? reason : undefined,
  };
}

async function hangUp(asked: TerminateRequired, { graph }: SelfContext, log: Log): Promise<Response> {
  log.info("CALL_TERMINATE_REQUIRED", { action: asked.action, reason: asked.reason && log.clean(asked.reason) });
  try {
    await graph.hangUp(asked.phoneNumberId, asked.callId, asked.action, log);
    return new Response("ok");
  } catch (error) {
    if (!isGraphError(error)) throw error;
    log.error("GRAPH_UNREACHABLE", graphFields(error, log));
    // The control plane asks again.
    return answer(502, "GRAPH_UNREACHABLE", "Graph gave no usable answer");
  }
}
