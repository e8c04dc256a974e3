// Waiting for a call's progress, against a control plane of the test's own.

import assert, { deepEqual as assertEquals, rejects } from "node:assert/strict";

import { pause } from "../functions/_shared/background.ts";
import { Bridge, Progress, VoiceBridgeError } from "../functions/_shared/bridge.ts";
import { since } from "../functions/_shared/log.ts";
import type { Caller } from "../functions/_shared/webhook.ts";
import { type Answer, besidePlane, type Request, RESOURCE_EXHAUSTED, UNAVAILABLE } from "./plane.ts";

/** What a busy test machine may add. */
const BUSY_MS = 1500;

const UP: Answer = { reached: [{ progress: Progress.TRANSPORT_CONNECTED, elapsedMs: 13n }] };
const UNTIL = [Progress.TRANSPORT_CONNECTED];

Deno.test("a wait that breaks off late is asked again: only failures count against the time for them", async () => {
  let broken = 0;
  const answer = async () => {
    if (++broken > 2) return UP;
    await pause(600);
    return broken === 1 ? { status: UNAVAILABLE } : {};
  };
  await besidePlane(answer, async (url, asked) => {
    const { reached } = await new Bridge(url, undefined, 400).wait("A", UNTIL, Date.now() + 20_000);
    assertEquals([[...reached], asked.length], [[[Progress.TRANSPORT_CONNECTED, 13]], 3]);
  });
});

Deno.test("a control plane that stays away is given up", async () => {
  await besidePlane(() => ({ status: UNAVAILABLE }), async (url) => {
    const began = Date.now();
    await rejects(new Bridge(url, undefined, 400).wait("A", UNTIL, began + 20_000), { code: "UNAVAILABLE" });
    assert(since(began) < 400 + BUSY_MS, `${since(began)} ms`);
  });
});

Deno.test("one that serves as many waits as it may is asked again when it says, until the deadline", async () => {
  const [full, retryDelayMs] = [RESOURCE_EXHAUSTED, 300];
  let times = 0;
  await besidePlane(() => ++times > 2 ? UP : { status: full, retryDelayMs }, async (url) => {
    const began = Date.now();
    await new Bridge(url, undefined, 100).wait("A", UNTIL, began, began + 20_000);
    assert(times === 3 && since(began) >= 2 * retryDelayMs, `${times} times, ${since(began)} ms`);
  });
  await besidePlane(() => ({ status: full, retryDelayMs }), async (url, asked) => {
    const began = Date.now();
    await rejects(new Bridge(url, undefined, 10_000).wait("A", UNTIL, began + 700), { code: "RESOURCE_EXHAUSTED" });
    assert(since(began) <= 700 + BUSY_MS && asked.length <= 3, `${since(began)} ms, ${asked.length} times`);
  });
  // To any other request it is the answer.
  await besidePlane(() => ({ status: full, retryDelayMs }), async (url, asked) => {
    await rejects(new Bridge(url, undefined, 10_000).call("A"), VoiceBridgeError);
    assertEquals(asked.length, 1);
  });
});

Deno.test("a control plane that says nothing holds nobody longer than the deadline", async () => {
  await besidePlane(() => "silence", async (url, asked) => {
    const bridge = new Bridge(url, undefined, 10_000);
    const began = Date.now();
    await rejects(bridge.wait("A", UNTIL, began + 100, began + 600), { code: "DEADLINE_EXCEEDED" });
    await rejects(bridge.advance("A", "ANSWER_DELIVERED", began + 600), { code: "DEADLINE_EXCEEDED" });
    assert(since(began) < 1100 + BUSY_MS, `${since(began)} ms`);
    assert(asked.every(({ allowedMs }) => allowedMs <= 850), JSON.stringify(asked));
  });
});

Deno.test("an agent goes along by what names its caller, and not at all without", async () => {
  const agent = { language: "pt", variables: {} };
  const sent = async (phoneNumber?: string, userId?: string) => {
    let agents: unknown;
    const keep = ({ message }: Request) => {
      agents = (message.agents as Caller[]).map(({ phoneNumber, userId }) => [phoneNumber, userId]);
      return {};
    };
    const caller = { phoneNumber, userId, name: undefined };
    await besidePlane(keep, async (url) => {
      await new Bridge(url, undefined, 0).handleWebhook(new Uint8Array(), "sha256=", [{ caller, agent }], Date.now());
    });
    return agents;
  };
  assertEquals(await sent("5511900000001", "BR.13"), [["5511900000001", "BR.13"]]);
  for (const odd of ["1234567890123456", "ana.example", "+", "123\n"]) {
    assertEquals(await sent(odd, "BR.13"), [["", "BR.13"]], odd);
    assertEquals(await sent(odd), [], odd);
  }
  assertEquals(await sent("5511900000001", "x".repeat(513)), [["5511900000001", ""]]);
  assertEquals(await sent(undefined, "BR\u0000"), []);
});

Deno.test("a long wait is asked for in parts", async () => {
  await besidePlane(() => UP, async (url, asked) => {
    await new Bridge(url, undefined, 10_000).wait("A", UNTIL, Date.now() + 60_000);
    assertEquals(asked.map(({ message, allowedMs }) => [message.timeoutMs, allowedMs]), [[5000, 10_000]]);
  });
});
