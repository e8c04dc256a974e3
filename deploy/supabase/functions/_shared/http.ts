// What both functions do with requests and answers.

import type { Log } from "./log.ts";
import { SettingsError } from "./settings.ts";

export type Handler = (request: Request) => Promise<Response>;

/** Largest body taken, bytes; as the control plane's default: Meta's webhooks are up to 3 MB, and a little. */
export const MAX_BODY_BYTES = 3 * 1024 * 1024 + 64 * 1024;

export const SIGNATURE_HEADER = "x-hub-signature-256";
/** From `wa-webhook-core`: when the delivery reached it, Unix milliseconds, so that both log one timeline. */
export const RECEIVED_HEADER = "x-webhook-received-at";
/** A timeline that begins earlier than this is not believed. */
const OLDEST_RECEIVED_MS = 60_000;

/** An answer with a stable reason. */
export function answer(status: number, reason: string, message: string, headers: HeadersInit = {}): Response {
  return Response.json({ reason, message }, { status, headers });
}

/** The raw body; `undefined` when it is larger than the limit. */
export async function body(request: Request): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

export function tooLarge(): Response {
  return answer(413, "INVALID_ARGUMENT", `the body must be at most ${MAX_BODY_BYTES} bytes`);
}

export function methodNotAllowed(allowed: string): Response {
  return answer(405, "METHOD_NOT_ALLOWED", `only ${allowed}`, { allow: allowed });
}

/** When the delivery came, Unix milliseconds. */
export function receivedAt(request: Request, now: number): number {
  const given = Number(request.headers.get(RECEIVED_HEADER) ?? NaN);
  return given <= now && given >= now - OLDEST_RECEIVED_MS ? given : now;
}

/** A function whose settings are wrong stays up to say so; nobody is answered by half of one. */
export function configured(log: Log, make: () => Handler): Handler {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    log.error("NOT_CONFIGURED", { problems: error.problems.join("; ") });
    return () => Promise.resolve(answer(503, "NOT_CONFIGURED", error.problems.join("; ")));
  }
}
