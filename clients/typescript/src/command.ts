// A command is carried out once by its id, so it may be sent until it is answered.

import type { Client } from "@connectrpc/connect";
import { VoiceBridgeError } from "./error.ts";
import { delayMs, FINAL, sleepFor } from "./follow.ts";
import type { CallService } from "./gen/voicebridge/control/v1/call_pb.ts";

/** Times a command is sent. */
const ATTEMPTS = 3;

type SendCommand = Client<typeof CallService>["sendCommand"];

/** Not `randomUUID`: a page that came over plain HTTP has none. */
function chosenId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Waits, and throws as a request does if its caller gives up meanwhile. */
async function pauseFor(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleepFor(ms, signal ?? new AbortController().signal);
  } catch (cause) {
    throw new VoiceBridgeError("CANCELLED", "cancelled by the caller", { cause });
  }
}

/** `sendCommand` that gives a command an id if it has none, and within the deadline of the request asks again with it. */
export function sendOnce(send: SendCommand, defaultTimeoutMs: number): SendCommand {
  return async (request, options = {}) => {
    const named = { ...request, commandId: request.commandId || chosenId() } as typeof request;
    const { timeoutMs = defaultTimeoutMs, signal } = options;
    const until = timeoutMs > 0 ? Date.now() + timeoutMs : Number.POSITIVE_INFINITY;
    for (let sent = 1; ; sent += 1) {
      // 0: none.
      const left = Number.isFinite(until) ? Math.max(1, until - Date.now()) : 0;
      try {
        return await send(named, { ...options, timeoutMs: left });
      } catch (error) {
        const { code, retryDelayMs } = error as VoiceBridgeError;
        const pause = delayMs(sent, Math.random(), retryDelayMs);
        if (sent === ATTEMPTS || FINAL.has(code) || signal?.aborted || Date.now() + pause >= until) throw error;
        await pauseFor(pause, signal);
      }
    }
  };
}
