// The one address Meta knows: verification, signature, and each delivery to the functions responsible for what is in it.
//
// A function gets the delivery as it came, signature and all, and takes of it what is of its field. Meta has its 200 when
// every function has taken it and not before: nobody would deliver again what was lost behind an answer. A function that
// says no is asked once more; one that still does, or takes longer than ANSWER_WITHIN_MS, makes this answer 503, and Meta
// delivers again.

import { pause } from "../_shared/background.ts";
import {
  answer,
  body,
  type Handler,
  methodNotAllowed,
  RECEIVED_HEADER,
  SIGNATURE_HEADER,
  tooLarge,
} from "../_shared/http.ts";
import { type Log, since } from "../_shared/log.ts";
import type { CoreSettings } from "../_shared/settings.ts";
import { sameSecret, signed } from "../_shared/signature.ts";
import { fields, MalformedError } from "../_shared/webhook.ts";

/** Meta waits for some 20 s, and wants a median below 250 ms: a function takes what it is given in a few. */
const ANSWER_WITHIN_MS = 15_000;
/** Pause before a function that said no is asked once more. */
const RETRY_DELAY_MS = 200;

interface Delivery {
  raw: Uint8Array<ArrayBuffer>;
  signature: string;
  receivedAt: number;
}

export function core(settings: CoreSettings, log: Log): Handler {
  return async (request) => {
    if (request.method === "GET") return await verification(settings, log, new URL(request.url));
    if (request.method !== "POST") return methodNotAllowed("GET, POST");
    const receivedAt = Date.now();
    const raw = await body(request);
    if (raw === undefined) return tooLarge();
    const signature = request.headers.get(SIGNATURE_HEADER);
    if (signature === null || !await signed(settings.appSecret, raw, signature)) {
      log.warn("WEBHOOK_SIGNATURE_INVALID", { bytes: raw.length });
      return answer(401, "WEBHOOK_SIGNATURE_INVALID", "X-Hub-Signature-256 does not match the body");
    }
    let named: string[];
    try {
      named = fields(raw);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      log.warn("WEBHOOK_MALFORMED", { error: error.message });
      return answer(400, "WEBHOOK_MALFORMED", error.message);
    }
    const targets = new Set<string>();
    for (const field of named) {
      const target = settings.routes.get(field);
      if (target === undefined) log.info("WEBHOOK_FIELD_IGNORED", { field });
      else targets.add(target);
    }
    return await deliver([...targets], { raw, signature, receivedAt }, log);
  };
}

/** Meta asks whether this is the address, with the word agreed. */
async function verification(settings: CoreSettings, log: Log, url: URL): Promise<Response> {
  const query = (name: string) => url.searchParams.get(`hub.${name}`) ?? "";
  const right = query("mode") === "subscribe" && await sameSecret(settings.verifyToken, query("verify_token"));
  log.info(right ? "WEBHOOK_VERIFIED" : "WEBHOOK_NOT_VERIFIED");
  if (!right) return answer(403, "WEBHOOK_NOT_VERIFIED", "hub.mode or hub.verify_token is not what was agreed");
  return new Response(query("challenge"), { headers: { "content-type": "text/plain" } });
}

async function deliver(targets: string[], delivery: Delivery, log: Log): Promise<Response> {
  const taken = await Promise.all(targets.map((target) => forward(target, delivery, log)));
  if (taken.includes(false)) {
    return answer(503, "UNAVAILABLE", "a function responsible did not take the delivery; deliver it again");
  }
  log.info("WEBHOOK_ANSWERED", { elapsedMs: since(delivery.receivedAt), forwarded: targets.length });
  return new Response("ok");
}

/** Whether the function took it. */
async function forward(target: string, delivery: Delivery, log: Log): Promise<boolean> {
  let problem = await post(target, delivery);
  if (problem !== undefined && since(delivery.receivedAt) + RETRY_DELAY_MS < ANSWER_WITHIN_MS) {
    log.warn("WEBHOOK_FORWARDED_AGAIN", { function: new URL(target).pathname, ...problem });
    await pause(RETRY_DELAY_MS);
    problem = await post(target, delivery);
  }
  if (problem === undefined) return true;
  log.error("WEBHOOK_NOT_FORWARDED", { function: new URL(target).pathname, ...problem });
  return false;
}

/** What went wrong, if something did. */
async function post(target: string, delivery: Delivery): Promise<{ status?: number; error?: string } | undefined> {
  try {
    const response = await fetch(target, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        [SIGNATURE_HEADER]: delivery.signature,
        [RECEIVED_HEADER]: String(delivery.receivedAt),
      },
      body: delivery.raw,
      signal: AbortSignal.timeout(Math.max(0, ANSWER_WITHIN_MS - since(delivery.receivedAt))),
    });
    await response.body?.cancel();
    return response.ok ? undefined : { status: response.status };
  } catch (error) {
    return { error: error instanceof Error ? error.name : "unknown" };
  }
}
