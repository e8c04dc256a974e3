// The ends of a stream that do not come from the server: the user's, and our own patience.

import { VoiceBridgeError } from "./error.ts";

/** The user's wish to end, by signal or deadline: `signal` aborts with the error the user is to be given. */
export class UserEnd {
  readonly #controller = new AbortController();
  readonly #wish: AbortSignal | undefined;
  readonly #deadline: ReturnType<typeof setTimeout> | undefined;

  constructor({ signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined }) {
    this.#wish = signal;
    if (signal?.aborted) this.#cancel();
    signal?.addEventListener("abort", this.#cancel, { once: true });
    if (timeoutMs !== undefined) {
      this.#deadline = setTimeout(() => {
        this.#controller.abort(new VoiceBridgeError("DEADLINE_EXCEEDED", `the deadline of ${timeoutMs} ms has passed`));
      }, timeoutMs);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Nothing is to be ended any more. */
  done(): void {
    clearTimeout(this.#deadline);
    this.#wish?.removeEventListener("abort", this.#cancel);
  }

  readonly #cancel = (): void => {
    this.#controller.abort(new VoiceBridgeError("CANCELLED", "cancelled by the caller", { cause: this.#wish?.reason }));
  };
}

/** One connection. Given up when the user ends, when it is silent for too long, and when it is abandoned. */
export class Attempt<Response> {
  readonly #controller = new AbortController();
  readonly #user: AbortSignal;
  readonly #responses: AsyncIterator<Response>;
  /** Rejects when given up: a transport that does not hear the signal must not hold us. */
  readonly #given: Promise<never>;

  constructor(open: (signal: AbortSignal) => AsyncIterable<Response>, user: AbortSignal) {
    this.#user = user;
    this.#given = new Promise((_, reject) => {
      this.#controller.signal.addEventListener("abort", () => reject(this.#controller.signal.reason), { once: true });
    });
    // Nobody may be waiting at that moment.
    this.#given.catch(() => {});
    if (user.aborted) this.#end();
    user.addEventListener("abort", this.#end, { once: true });
    this.#responses = open(this.#controller.signal)[Symbol.asyncIterator]();
  }

  /** The next response; undefined at the end in order. Throws when it does not come within `patienceMs`. */
  async next(patienceMs: number): Promise<Response | undefined> {
    const patience = setTimeout(() => {
      this.#controller.abort(new VoiceBridgeError("UNAVAILABLE", `no response for ${patienceMs} ms`));
    }, patienceMs);
    const response = this.#responses.next();
    response.catch(() => {});
    try {
      const result = await Promise.race([this.#given, response]);
      return result.done ? undefined : result.value;
    } finally {
      clearTimeout(patience);
    }
  }

  /** Nobody wants more of it. */
  abandon(): void {
    this.#user.removeEventListener("abort", this.#end);
    this.#controller.abort(new VoiceBridgeError("CANCELLED", "the stream is no longer wanted"));
  }

  readonly #end = (): void => this.#controller.abort(this.#user.reason);
}
