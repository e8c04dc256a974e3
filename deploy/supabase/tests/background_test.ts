// Work behind the answer.

import { deepEqual as assertEquals } from "node:assert/strict";

import { Background, within } from "../functions/_shared/background.ts";
import { Log } from "../functions/_shared/log.ts";

Deno.test("work is handed to EdgeRuntime where there is one, and can be waited for anywhere", async () => {
  const kept: Promise<unknown>[] = [];
  const runtime = globalThis as { EdgeRuntime?: { waitUntil(work: Promise<unknown>): void } };
  runtime.EdgeRuntime = { waitUntil: (work) => void kept.push(work) };
  try {
    const background = new Background();
    const done: string[] = [];
    const log = new Log({}, [], () => {});
    const gate = Promise.withResolvers<void>();
    background.run(log, async () => {
      await gate.promise;
      done.push("first");
      // What work begins is waited for too.
      background.run(log, () => Promise.resolve(void done.push("second")));
    });
    assertEquals([kept.length, done], [1, []]);
    gate.resolve();
    await background.idle();
    assertEquals([kept.length, done], [2, ["first", "second"]]);
  } finally {
    delete runtime.EdgeRuntime;
  }
});

Deno.test("work that fails is logged and harms nothing else", async () => {
  const lines: string[] = [];
  const background = new Background();
  background.run(new Log({}, [], (line) => lines.push(line)), () => Promise.reject(new RangeError("out of it")));
  await background.idle();
  const { level, event, error } = JSON.parse(lines[0] ?? "{}");
  assertEquals([lines.length, level, event, error], [1, "error", "WORK_FAILED", "RangeError: out of it"]);
});

Deno.test("what takes longer than its limit is not waited for", async () => {
  const late = Promise.withResolvers<string>();
  assertEquals(await within(5, late.promise), undefined);
  late.resolve("in time");
  assertEquals(await within(5, late.promise), "in time");
});
