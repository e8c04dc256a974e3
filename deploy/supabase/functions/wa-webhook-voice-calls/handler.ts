// Webhooks of the field `calls`, in the style VOICE_BRIDGE_MODE says, and the control plane's callbacks.
//
//   POST /            a delivery of Meta's, as wa-webhook-core passes it on
//   POST /callback    the control plane asks for a hang-up at Graph (self mode)

import { Background, within } from "../_shared/background.ts";
import { Bridge, TAKEN_WITHIN_MS } from "../_shared/bridge.ts";
import { database } from "../_shared/database.ts";
import { Graph } from "../_shared/graph.ts";
import {
  answer,
  body,
  type Handler,
  methodNotAllowed,
  receivedAt,
  SIGNATURE_HEADER,
  tooLarge,
} from "../_shared/http.ts";
import { type Log, since } from "../_shared/log.ts";
import type { CallSettings } from "../_shared/settings.ts";
import { signed } from "../_shared/signature.ts";
import { MalformedError, type Notice, notices } from "../_shared/webhook.ts";
import { callback } from "./callback.ts";
import type { Context, Delivery } from "./context.ts";
import * as managed from "./managed.ts";
import * as self from "./self.ts";

export function voiceCalls(settings: CallSettings, log: Log, background: Background): Handler {
  const { graph: graphSettings, database: databaseSettings } = settings;
  const context: Context = {
    settings,
    bridge: new Bridge(settings.bridgeUrl, settings.apiKey, settings.retryMs),
    sql: databaseSettings && database(databaseSettings),
    log,
    background,
  };
  const selfContext = graphSettings && { ...context, graph: new Graph(graphSettings) };
  return async (request) => {
    if (request.method !== "POST") return methodNotAllowed("POST");
    const received = receivedAt(request, Date.now());
    const raw = await body(request);
    if (raw === undefined) return tooLarge();
    if (new URL(request.url).pathname.endsWith("/callback")) {
      return await callback(settings.callbackSecret, selfContext, request.headers, raw, log);
    }
    const signature = request.headers.get(SIGNATURE_HEADER);
    if (signature === null || !await signed(settings.appSecret, raw, signature)) {
      log.warn("WEBHOOK_SIGNATURE_INVALID", { bytes: raw.length });
      return answer(401, "WEBHOOK_SIGNATURE_INVALID", "X-Hub-Signature-256 does not match the body");
    }
    let found: Notice[];
    try {
      found = notices(raw);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      log.warn("WEBHOOK_MALFORMED", { error: error.message });
      return answer(400, "WEBHOOK_MALFORMED", error.message);
    }
    const delivery: Delivery = { raw, signature, notices: forUs(found, context), receivedAt: received };
    if (delivery.notices.length === 0) return new Response("ok");
    let taken = false;
    const work = background.run(log, async () => {
      taken = await (selfContext === undefined ? managed.take(delivery, context) : self.take(delivery, selfContext));
    });
    // The answer is Meta's as well: what the control plane has not written down would be lost with this function.
    const inTime = await within(TAKEN_WITHIN_MS, work.then(() => taken));
    if (inTime === true) return new Response("ok");
    if (inTime === undefined) log.warn("WEBHOOK_NOT_TAKEN_IN_TIME", { elapsedMs: since(delivery.receivedAt) });
    return answer(503, "UNAVAILABLE", "the control plane did not take the delivery; deliver it again");
  };
}

/**
 * Meta may deliver long after the caller has gone: a connect that old is dropped. Several numbers may share an app and thus
 * a webhook; one of another number is somebody else's.
 */
function forUs(found: Notice[], { settings, log }: Context): Notice[] {
  return found.filter((notice) => {
    if (notice.kind === "ignored") {
      log.info("WEBHOOK_NOTICE_IGNORED", { callId: notice.callId, what: notice.what });
      return false;
    }
    const { phoneNumberId = settings.phoneNumberId } = notice;
    if (settings.phoneNumberId !== undefined && phoneNumberId !== settings.phoneNumberId) {
      log.info("WA_CALL_OTHER_NUMBER", { callId: notice.callId });
      return false;
    }
    // Without a timestamp, and with one ahead of this clock, it is a call of now.
    const ageMs = notice.timestamp === undefined ? 0 : since(notice.timestamp * 1000);
    if (notice.kind === "connect" && ageMs > settings.staleMs) {
      log.warn("WA_CALL_STALE", { callId: notice.callId, ageMs });
      return false;
    }
    return true;
  });
}
