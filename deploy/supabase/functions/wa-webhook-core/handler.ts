// The one address Meta knows: verification, signature, and each delivery to the functions responsible for what is in it.
//
// A function gets the delivery as it came, signature and all, and takes of it what is of its field. Meta is answered as
// soon as every function has, or after ANSWER_WITHIN_MS; what is still to be done then is done behind the answer. A
// function that fails in time makes this answer 503, so that Meta delivers again.

import { Background, pause, within } from "../_shared/background.ts";
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

/** Meta wants a median below 250 ms. */
const ANSWER_WITHIN_MS = 200;
/** One request to a function; a cold start takes its time. */
const FORWARD_TIMEOUT_MS = 5000;
/** Pause before a function is asked once more. */
const RETRY_DELAY_MS = 200;

interface Delivery {
  raw: Uint8Array<ArrayBuffer>;
  signature: string;
  receivedAt: number;
  /** Meta has its 200. */
  answered: boolean;
}

export function core(settings: CoreSettings, log: Log, background: Background): Handler {
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
    return await deliver([...targets], { raw, signature, receivedAt, answered: false }, log, background);
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

async function deliver(targets: string[], delivery: Delivery, log: Log, background: Background): Promise<Response> {
  const outcomes = targets.map((target) => {
    let taken = false;
    const work = background.run(log, async () => {
      taken = await forward(target, delivery, log);
    });
    return work.then(() => taken);
  });
  const all = await within(ANSWER_WITHIN_MS, Promise.all(outcomes));
  if (all?.includes(false)) {
    return answer(503, "UNAVAILABLE", "a function responsible did not take the delivery; deliver it again");
  }
  delivery.answered = true;
  const elapsedMs = since(delivery.receivedAt);
  log.info("WEBHOOK_ANSWERED", { elapsedMs, forwarded: targets.length, unfinished: all === undefined });
  return new Response("ok");
}

/**
 * Whether the function took it. While Meta waits, a failure is Meta's to hear, and to deliver again; afterwards the
 * function is asked once more.
 */
async function forward(target: string, delivery: Delivery, log: Log): Promise<boolean> {
  let problem = await post(target, delivery);
  if (problem !== undefined && delivery.answered) {
    log.warn("WEBHOOK_FORWARDED_AGAIN", { function: new URL(target).pathname, ...problem });
    await pause(RETRY_DELAY_MS);
    problem = await post(target, delivery);
  }
  if (problem === undefined) return true;
  log.error("WEBHOOK_NOT_FORWARDED", { function: new URL(target).pathname, answered: delivery.answered, ...problem });
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
      signal: AbortSignal.timeout(FORWARD_TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.ok ? undefined : { status: response.status };
  } catch (error) {
    return { error: error instanceof Error ? error.name : "unknown" };
  }
}
