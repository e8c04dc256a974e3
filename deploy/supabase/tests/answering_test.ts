// One call being answered, against a control plane and a Graph of the test's own.

import assert, { deepEqual as assertEquals } from "node:assert/strict";

import { Background, pause } from "../functions/_shared/background.ts";
import { Bridge, Progress } from "../functions/_shared/bridge.ts";
import { Graph } from "../functions/_shared/graph.ts";
import { Log, since } from "../functions/_shared/log.ts";
import { callSettings } from "../functions/_shared/settings.ts";
import { Answering } from "../functions/wa-webhook-voice-calls/answering.ts";
import { type Answer, besidePlane, type Request } from "./plane.ts";

/** What a busy test machine may add. */
const BUSY_MS = 1500;

interface Answered {
  /** What Graph was asked for, and how long after the webhook. */
  actions: [string, number][];
  lines: Record<string, unknown>[];
  asked: Request[];
}

/** Answers a call whose webhook came so long ago. */
async function answered(
  ageMs: number,
  answer: (request: Request) => Answer | Promise<Answer>,
  refuses = "",
): Promise<Answered> {
  const receivedAt = Date.now() - ageMs;
  const actions: [string, number][] = [];
  const lines: Record<string, unknown>[] = [];
  const result = { actions, lines, asked: [] as Request[] };
  const meta = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { action } = await request.json();
    actions.push([action, since(receivedAt)]);
    return action === refuses
      ? Response.json({ error: { code: 138_004, message: "no" } }, { status: 400 })
      : Response.json({ success: true });
  });
  await besidePlane(answer, async (url, asked) => {
    result.asked = asked;
    const variables: Record<string, string> = {
      VOICE_BRIDGE_MODE: "self",
      VOICE_BRIDGE_URL: url,
      VOICE_BRIDGE_RETRY_MS: "1000",
      WHATSAPP_APP_SECRET: "app",
      WHATSAPP_ACCESS_TOKEN: "token",
      WHATSAPP_PHONE_NUMBER_ID: "106",
      WHATSAPP_GRAPH_URL: `http://127.0.0.1:${meta.addr.port}/v25.0`,
    };
    const settings = callSettings({ get: (name) => variables[name] });
    assert(settings.graph !== undefined);
    const connect = {
      kind: "connect" as const,
      callId: "wacid.X=",
      phoneNumberId: "106",
      caller: { phoneNumber: undefined, userId: undefined, name: undefined },
      timestamp: undefined,
      sdpOffer: "v=0",
      payloads: { deeplinkPayload: "", ctaPayload: "", bizOpaqueCallbackData: "" },
    };
    const answering = new Answering(connect, receivedAt, {
      settings,
      bridge: new Bridge(url, undefined, settings.retryMs),
      sql: undefined,
      log: new Log({}, [], (line) => lines.push(JSON.parse(line))),
      background: new Background(),
      graph: new Graph(settings.graph),
    });
    await answering.answer({ sdpAnswer: "v=0", byAnother: false });
  });
  await meta.shutdown();
  return result;
}

Deno.test("a control plane that falls silent while it is waited for: the caller is turned down in time", async () => {
  const silent = (request: Request): Answer => request.method === "WaitForSession" ? "silence" : {};
  const { actions, lines, asked } = await answered(23_500, silent);
  assertEquals(actions.map(([action]) => action), ["pre_accept", "reject"]);
  assert(actions[1]![1] < 25_250 + BUSY_MS, `${actions[1]![1]} ms`);
  assert(lines.some(({ event }) => event === "CALL_NOT_READY"));
  assertEquals(asked.at(-1)?.method, "EndCall");
});

Deno.test("and so it is when it does not take that the answer was delivered", async () => {
  const silent = (request: Request): Answer => request.method === "AdvanceSession" ? "silence" : {};
  const { actions } = await answered(23_500, silent);
  assertEquals(actions.map(([action]) => action), ["pre_accept", "reject"]);
  assert(actions[1]![1] < 25_250 + BUSY_MS, `${actions[1]![1]} ms`);
});

Deno.test("the AI's session is logged with the time at which it was there", async () => {
  const reached = [Progress.TRANSPORT_CONNECTED, Progress.AI_READY, Progress.MEDIA_ACTIVE].map((progress) => ({
    progress,
    elapsedMs: 17n,
  }));
  const { actions, lines } = await answered(1000, ({ method }) => method === "WaitForSession" ? { reached } : {});
  assertEquals(actions.map(([action]) => action), ["pre_accept", "accept"]);
  assertEquals(lines.find(({ event }) => event === "OPENAI_SESSION_CREATED")?.elapsedMs, 17);
});

Deno.test("Graph refuses, and the control plane takes its time: nobody is left ringing meanwhile", async () => {
  const slow = async (request: Request): Promise<Answer> => {
    if (request.method === "EndCall") await pause(4000);
    return {};
  };
  const { actions } = await answered(0, slow, "pre_accept");
  assertEquals(actions.map(([action]) => action), ["pre_accept", "reject"]);
  assert(actions[1]![1] < 1000 + BUSY_MS, `${actions[1]![1]} ms`);
});
