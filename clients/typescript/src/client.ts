// A client over any transport: typed methods, errors of one class, streams that resume.

import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { UserEnd } from "./attempt.ts";
import { sendOnce } from "./command.ts";
import { VoiceBridgeError } from "./error.ts";
import { EventStream, type FollowOptions, type FollowRequest } from "./follow.ts";
import { CallService } from "./gen/voicebridge/control/v1/call_pb.ts";

/** How long a method may take, unless told otherwise. */
const DEFAULT_TIMEOUT_MS = 10_000;

export interface ClientOptions {
  /** The control plane, e.g. `https://voice.example.com`. */
  url: string;
  /**
   * An API key, a read token, or a function that gives one (asked before each request). Without any, only public methods
   * are answered; the client for Node then shows a control plane on this machine the local key of its user.
   */
  apiKey?: string | (() => string | Promise<string>) | undefined;
  /** How long a method may take, unless its own `timeoutMs` says otherwise; streams have no limit. Default: 10 s; 0: none. */
  timeoutMs?: number | undefined;
}

/** What a transport is made with. */
export interface TransportSettings {
  baseUrl: string;
  interceptors: Interceptor[];
  /** Absent: none. */
  defaultTimeoutMs?: number;
}

/** A client of a control plane. Holds no connection of its own: make as many as you like. */
export class BaseClient {
  /**
   * Every method of `CallService`. A command without a `commandId` is given one, and is sent again within its deadline when it
   * is not answered: the call takes it once. `streamEvents` is one stream as it comes; `follow` is the one that resumes.
   */
  readonly calls: Client<typeof CallService>;
  readonly #transport: Transport;
  /** Of a method; 0: none. */
  readonly #timeoutMs: number;

  constructor(options: ClientOptions, transport: (settings: TransportSettings) => Transport) {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    this.#timeoutMs = timeoutMs;
    this.#transport = transport({
      baseUrl: baseUrl(options.url),
      interceptors: [authorize(options.apiKey)],
      // To Connect 0 is a deadline that has passed.
      ...(timeoutMs > 0 && { defaultTimeoutMs: timeoutMs }),
    });
    this.calls = this.service(CallService);
  }

  /** A client of another service, e.g. `KeyService` from `@voicebridge/client/gen/control/v1/keys`. */
  service<S extends DescService>(service: S): Client<S> {
    const methods: Record<string, unknown> = {};
    const client = createClient(service, this.#transport) as Record<string, never>;
    for (const method of service.methods) {
      const call = client[method.localName] as never;
      methods[method.localName] = method.methodKind === "unary" ? this.#unary(method, call) : streaming(call);
    }
    return methods as Client<S>;
  }

  #unary(method: DescMethod, call: never): unknown {
    if (method === CallService.method.waitForSession) return unary(waiting(call, this.#timeoutMs));
    if (method === CallService.method.sendCommand) return sendOnce(unary(call), this.#timeoutMs);
    return unary(call);
  }

  /**
   * Events, durable ones without loss or repetition however often the connection breaks: of one call until its end, or
   * of all calls without end. Leaving the loop closes the connection.
   */
  follow(request: FollowRequest = {}, options: FollowOptions = {}): EventStream {
    return new EventStream((from, signal) => this.calls.streamEvents(from, { signal }), request, options);
  }
}

interface CallOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
}

function unary<I, O>(call: (request: I, options?: CallOptions) => Promise<O>) {
  return async (request: I, options: CallOptions = {}): Promise<O> => {
    try {
      return await call(request, options);
    } catch (cause) {
      throw typed(cause, options.signal);
    }
  };
}

/** A method that waits as long as its request says may take that much longer. */
function waiting<I extends { timeoutMs?: number }, O>(
  call: (request: I, options?: CallOptions) => Promise<O>,
  timeoutMs: number,
) {
  return (request: I, options: CallOptions = {}): Promise<O> => {
    const allowed = timeoutMs > 0 ? timeoutMs + (request.timeoutMs ?? 0) : undefined;
    return call(request, { ...options, timeoutMs: options.timeoutMs ?? allowed });
  };
}

function streaming<I, O>(call: (request: I, options?: CallOptions) => AsyncIterable<O>) {
  return async function* (request: I, options: CallOptions = {}): AsyncGenerator<O, void, undefined> {
    // Connect's own iterators do not close the connection when the reader leaves.
    const reader = new AbortController();
    const user = new UserEnd({ signal: options.signal });
    user.signal.addEventListener("abort", () => reader.abort(user.signal.reason), { once: true });
    if (user.signal.aborted) reader.abort(user.signal.reason);
    try {
      yield* call(request, { ...options, timeoutMs: options.timeoutMs ?? 0, signal: reader.signal });
    } catch (cause) {
      throw typed(cause, options.signal);
    } finally {
      user.done();
      reader.abort();
    }
  };
}

function typed(cause: unknown, signal: AbortSignal | undefined): VoiceBridgeError {
  if (signal?.aborted) return new VoiceBridgeError("CANCELLED", "cancelled by the caller", { cause: signal.reason });
  return VoiceBridgeError.from(cause);
}

function baseUrl(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw new VoiceBridgeError("INVALID_ARGUMENT", `url is no URL: ${JSON.stringify(url)}`, { cause });
  }
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:") {
    throw new VoiceBridgeError("INVALID_ARGUMENT", `url must begin with https:// or http://: ${JSON.stringify(url)}`);
  }
  return url.replace(/\/+$/, "");
}

function authorize(apiKey: ClientOptions["apiKey"]): Interceptor {
  return (next) => async (request) => {
    const key = typeof apiKey === "function" ? await apiKey() : apiKey;
    if (key) request.header.set("authorization", `Bearer ${key}`);
    return await next(request);
  };
}
