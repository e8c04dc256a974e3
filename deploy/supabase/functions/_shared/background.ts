// Work that goes on after Meta has its answer. Where EdgeRuntime exists it keeps the function alive for it; elsewhere, as
// in plain Deno, the process lives anyway and a test or a shutdown can wait for `idle`.

import type { Log } from "./log.ts";

declare const EdgeRuntime: { waitUntil(promise: Promise<unknown>): void } | undefined;

export class Background {
  readonly #running = new Set<Promise<void>>();

  /** Does `work` behind the answer. What it throws is logged: nobody else would hear of it. */
  run(log: Log, work: () => Promise<void>): Promise<void> {
    const running = work().catch((error) => log.error("WORK_FAILED", log.failure(error))).finally(() => {
      this.#running.delete(running);
    });
    this.#running.add(running);
    if (typeof EdgeRuntime !== "undefined") EdgeRuntime.waitUntil(running);
    return running;
  }

  /** Waits until nothing is going on. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}

/** The value, or `undefined` when it took longer than `limitMs`. The work goes on. */
export async function within<T>(limitMs: number, work: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), limitMs));
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function pause(lengthMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, lengthMs));
}
