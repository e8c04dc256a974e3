// Meta's Graph API: `POST /<phone number id>/calls`. A request without an answer, or with a passing fault of Graph's, is
// sent once more; everything else is an error with Meta's own words. Source: Meta, "Reference" and "Troubleshooting" of the
// WhatsApp Business Calling API.

import type { GraphSettings } from "./settings.ts";
import type { Log } from "./log.ts";

export type Action = "pre_accept" | "accept" | "reject" | "terminate";

/** Graph would not do it. Trying again will not help. */
export class GraphRefusedError extends Error {
  override name = "GraphRefusedError";

  constructor(
    readonly action: Action,
    readonly status: number,
    /** Meta's code, e.g. 100 or 138008; the HTTP status when it gave none. */
    readonly code: number,
    readonly subcode: number | undefined,
    /** Meta's `error_data.details`, or its message. */
    readonly details: string,
    readonly fbtraceId: string | undefined,
  ) {
    super(`Graph refused ${action} with ${code}: ${details}`);
  }
}

/** Graph gave no usable answer, also when asked again. */
export class GraphUnreachableError extends Error {
  override name = "GraphUnreachableError";

  constructor(readonly action: Action, readonly why: string) {
    super(`Graph gave no usable answer to ${action} (${why}), also when asked again`);
  }
}

export type GraphError = GraphRefusedError | GraphUnreachableError;

/** Pause before the second and last try. */
const RETRY_DELAY_MS = 200;
/** Longest answer that is read, bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;

type Attempt = { done: true } | { done: false; again: boolean; error: GraphError };

export class Graph {
  constructor(private readonly settings: GraphSettings, private readonly fetcher: typeof fetch = fetch) {}

  /** Says one thing about a call. `answer` goes with `pre_accept` and `accept`: the same bytes both times. */
  async act(phoneNumberId: string | undefined, callId: string, action: Action, answer?: string): Promise<void> {
    const number = phoneNumberId ?? this.settings.phoneNumberId;
    if (number === undefined) throw new GraphUnreachableError(action, "no phone number id");
    const url = `${this.settings.url}/${encodeURIComponent(number)}/calls`;
    const body = JSON.stringify({
      messaging_product: "whatsapp",
      call_id: callId,
      action,
      // Meta's parameter table says "offer" here and means the caller's; nothing but "answer" is taken.
      session: answer === undefined ? undefined : { sdp_type: "answer", sdp: answer },
    });
    let attempt = await this.#attempt(url, action, body);
    if (!attempt.done && attempt.again) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
      attempt = await this.#attempt(url, action, body);
    }
    if (!attempt.done) throw attempt.error;
  }

  /**
   * Ends a call at Meta in whatever state it is there: one that was not answered is rejected, one that was is terminated,
   * and Graph refusing both means that it is over. Throws only when Graph cannot be reached.
   */
  async hangUp(
    phoneNumberId: string | undefined,
    callId: string,
    first: "reject" | "terminate",
    log: Log,
  ): Promise<boolean> {
    let answered = false;
    for (const action of first === "reject" ? ["reject", "terminate"] as const : ["terminate"] as const) {
      try {
        await this.act(phoneNumberId, callId, action);
        log.info("WA_CALL_HUNG_UP", { action });
        return true;
      } catch (error) {
        if (!(error instanceof GraphRefusedError)) throw error;
        log.info("WA_CALL_HANG_UP_REFUSED", graphFields(error, log));
        // A no is Graph's word that there is nothing to hang up; a fault of its own is none.
        answered ||= error.status < 500;
      }
    }
    return answered;
  }

  async #attempt(url: string, action: Action, body: string): Promise<Attempt> {
    let status = 0;
    let text: string;
    try {
      const response = await this.fetcher(url, {
        method: "POST",
        headers: { authorization: `Bearer ${this.settings.accessToken}`, "content-type": "application/json" },
        body,
        // A redirect would carry the token elsewhere.
        redirect: "error",
        signal: AbortSignal.timeout(this.settings.timeoutMs),
      });
      status = response.status;
      text = await firstBytes(response);
    } catch (error) {
      const why = error instanceof DOMException && error.name === "TimeoutError" ? "timeout" : "connection";
      return { done: false, again: true, error: new GraphUnreachableError(action, why) };
    }
    return judge(action, status, text);
  }
}

/** What an answer means. */
function judge(action: Action, status: number, text: string): Attempt {
  let body: Record<string, unknown> = {};
  try {
    body = Object(JSON.parse(text));
  } catch {
    // No JSON: the status decides.
  }
  const error = body.error as Record<string, unknown> | undefined;
  if (error === undefined && status >= 200 && status < 300 && body.success !== false) return { done: true };
  const code = typeof error?.code === "number" && error.code !== 0 ? error.code : undefined;
  const again = status >= 500 || error?.is_transient === true;
  if (status >= 500 && code === undefined) {
    return { done: false, again, error: new GraphUnreachableError(action, `status ${status}`) };
  }
  const data = error?.error_data as { details?: unknown } | string | undefined;
  const details = typeof data === "string" ? data : data?.details;
  const refusal = new GraphRefusedError(
    action,
    status,
    code ?? status,
    typeof error?.error_subcode === "number" ? error.error_subcode : undefined,
    String(details ?? error?.message ?? "no reason given"),
    typeof error?.fbtrace_id === "string" ? error.fbtrace_id : undefined,
  );
  return { done: false, again, error: refusal };
}

/** At most what an answer of Graph's may have; the rest is let go. */
async function firstBytes(response: Response): Promise<string> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
    length += chunk.length;
    if (length >= MAX_ANSWER_BYTES) break;
  }
  return new TextDecoder().decode(await new Blob(chunks).arrayBuffer());
}

/** What Meta wants to be told when asked about a refusal. */
export function graphFields(error: GraphError, log: Log): Record<string, string | number | undefined> {
  if (error instanceof GraphUnreachableError) return { action: error.action, why: error.why };
  return {
    action: error.action,
    status: error.status,
    code: error.code,
    subcode: error.subcode,
    details: log.clean(error.details),
    fbtraceId: error.fbtraceId,
  };
}

export function isGraphError(error: unknown): error is GraphError {
  return error instanceof GraphRefusedError || error instanceof GraphUnreachableError;
}
