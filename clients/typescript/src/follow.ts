// A stream of events that resumes by itself. What it does at each turn is specified once for all languages, in the table
// at CallService.StreamEvents (proto/voicebridge/control/v1/call.proto), and tested by tests/clients/scenarios.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Attempt, UserEnd } from "./attempt.ts";
import { type ErrorCode, VoiceBridgeError } from "./error.ts";
import type { Lagged, StreamEventsRequestSchema, StreamEventsResponse } from "./gen/voicebridge/control/v1/call_pb.ts";
import type { Event } from "./gen/voicebridge/types/v1/event_pb.ts";

/** Delays between connections: the first ceiling, doubled each time, up to the last. */
const FIRST_DELAY_MS = 200;
const LAST_DELAY_MS = 10_000;
/** The server may ask for longer delays than ours, up to this one. */
const MAX_ASKED_DELAY_MS = 60_000;
/** A stream that is silent for so many keepalive intervals is dead. */
const SILENT_INTERVALS = 3;
/** The interval to go by until the server tells its own. */
const ASSUMED_KEEPALIVE_MS = 15_000;

/** Connecting again cannot help. */
export const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "NOT_FOUND",
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "ALREADY_EXISTS",
  "DATA_LOSS",
]);

/** Which events, and from where: the fields of `StreamEventsRequest`. `{}` is all events of all calls from now on. */
export type FollowRequest = Omit<MessageInitShape<typeof StreamEventsRequestSchema>, "$typeName" | "$unknown">;

/** An event, or what was missed, and the cursor to go on from after it. */
export type Followed =
  | { event: Event; cursor: string; lagged?: undefined }
  | { event?: undefined; cursor: string; lagged: Lagged };

export interface FollowOptions {
  /** Ends the stream with `CANCELLED`. Leaving the loop does it too, without an error. */
  signal?: AbortSignal | undefined;
  /** Ends the stream with `DEADLINE_EXCEEDED` after this time, whatever it is doing. Default: never. */
  timeoutMs?: number | undefined;
  /** Connections in a row that yield no more than a first response, before the last error is thrown. Default: no limit. */
  maxAttempts?: number | undefined;
  /** The keepalive interval to go by until the server tells its own. Default: 15 s. */
  assumedKeepaliveMs?: number | undefined;
  /** Waits between two connections; must reject when the signal aborts. */
  sleep?: ((ms: number, signal: AbortSignal) => Promise<void>) | undefined;
  /** From 0 to 1; where in its range a delay lies. */
  random?: (() => number) | undefined;
}

/** Opens one `StreamEvents` stream. */
export type Connect = (request: FollowRequest, signal: AbortSignal) => AsyncIterable<StreamEventsResponse>;

/** The events asked for, to be read once: `for await (const { event } of stream)`. */
export class EventStream implements AsyncIterable<Followed> {
  readonly #connect: Connect;
  readonly #request: FollowRequest;
  readonly #options: FollowOptions;
  #cursor: string;
  #keepaliveMs: number;
  #taken = false;

  constructor(connect: Connect, request: FollowRequest, options: FollowOptions = {}) {
    this.#connect = connect;
    this.#request = request;
    this.#options = options;
    this.#cursor = request.cursor ?? "";
    this.#keepaliveMs = options.assumedKeepaliveMs ?? ASSUMED_KEEPALIVE_MS;
  }

  /** Where another stream would go on: everything durable up to here was handed over. Empty: nothing was heard yet. */
  get cursor(): string {
    return this.#cursor;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Followed, void, undefined> {
    if (this.#taken) throw new TypeError("a stream of events can be read once; its `cursor` begins another");
    this.#taken = true;
    return this.#run();
  }

  async *#run(): AsyncGenerator<Followed, void, undefined> {
    const { maxAttempts = Number.POSITIVE_INFINITY, sleep = sleepFor, random = Math.random } = this.#options;
    const user = new UserEnd(this.#options);
    /** Connections in a row without a second response, and the delays since there was one. */
    let fruitless = 0;
    let delays = 0;
    try {
      for (;;) {
        const request = { ...this.#request, cursor: this.#cursor };
        const attempt = new Attempt((signal) => this.#connect(request, signal), user.signal);
        let responses = 0;
        let error: VoiceBridgeError;
        try {
          for (;;) {
            const response = await attempt.next(SILENT_INTERVALS * this.#keepaliveMs);
            if (response === undefined) break;
            responses += 1;
            if (responses > 1) fruitless = delays = 0;
            yield* this.#handOver(response);
          }
          if (this.#request.callId) return;
          error = new VoiceBridgeError("UNAVAILABLE", "the server ended a stream over all calls");
        } catch (cause) {
          error = VoiceBridgeError.from(cause);
        } finally {
          attempt.abandon();
        }
        if (responses < 2) fruitless += 1;
        if (user.signal.aborted || FINAL.has(error.code) || fruitless >= maxAttempts) throw error;
        delays += 1;
        await sleep(delayMs(delays, random(), error.retryDelayMs), user.signal);
      }
    } finally {
      user.done();
    }
  }

  *#handOver(response: StreamEventsResponse): Generator<Followed, void, undefined> {
    const { event, cursor, lagged, keepaliveIntervalMs } = response;
    if (cursor === "") {
      throw new VoiceBridgeError("DATA_LOSS", "a response came without a cursor", { reason: "CURSOR_MISSING" });
    }
    if (keepaliveIntervalMs > 0) this.#keepaliveMs = keepaliveIntervalMs;
    if (lagged !== undefined) yield { lagged, cursor: this.#cursor };
    // Every durable event moves the cursor: one that does not was handed over before.
    const repeated = event !== undefined && event.sequence > 0n && cursor === this.#cursor;
    this.#cursor = cursor;
    if (event !== undefined && !repeated) yield { event, cursor };
  }
}

/** The n-th delay in a row, drawn evenly from half of to all of its ceiling, and no shorter than the server asked for. */
export function delayMs(n: number, random: number, askedMs: number): number {
  const drawn = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** (n - 1)) * (0.5 + 0.5 * random);
  return Math.max(drawn, Math.min(askedMs, MAX_ASKED_DELAY_MS));
}

export function sleepFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, ms);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
