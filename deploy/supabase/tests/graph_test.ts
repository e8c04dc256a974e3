// Graph requests and the control plane's callback, against a Graph of the test's own.

import assert, { deepEqual as assertEquals, rejects } from "node:assert/strict";
import { Webhook } from "standardwebhooks";

import { Background } from "../functions/_shared/background.ts";
import { Graph, GraphRefusedError, GraphUnreachableError } from "../functions/_shared/graph.ts";
import { Log } from "../functions/_shared/log.ts";
import { callSettings, type GraphSettings } from "../functions/_shared/settings.ts";
import { voiceCalls } from "../functions/wa-webhook-voice-calls/handler.ts";

const SECRET = `whsec_${btoa("the callback secret of this test")}`;
const OK: [number, unknown] = [200, { messaging_product: "whatsapp", success: true }];

const refusal = (code: number, more: Record<string, unknown> = {}): [number, unknown] => [400, {
  error: {
    message: `(#${code}) Invalid parameter`,
    type: "OAuthException",
    code,
    error_data: { messaging_product: "whatsapp", details: "Fingerprint algo is not SHA256" },
    fbtrace_id: "Ab0",
    ...more,
  },
}];

interface Asked {
  path: string;
  authorization: string | null;
  body: Record<string, unknown>;
}

/** Runs `test` beside a Graph that gives these answers in turn, then says yes. */
async function beside(
  answers: ([number, unknown] | "silence")[],
  test: (settings: GraphSettings, asked: Asked[]) => Promise<void>,
): Promise<void> {
  const asked: Asked[] = [];
  const over = Promise.withResolvers<Response>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    asked.push({
      path: new URL(request.url).pathname,
      authorization: request.headers.get("authorization"),
      body: await request.json(),
    });
    const answer = answers.shift() ?? OK;
    if (answer === "silence") return await over.promise;
    const [status, body] = answer;
    return typeof body === "string" ? new Response(body, { status }) : Response.json(body, { status });
  });
  const settings = {
    accessToken: "token",
    phoneNumberId: "106",
    url: `http://127.0.0.1:${server.addr.port}/v25.0`,
    timeoutMs: 300,
  };
  try {
    await test(settings, asked);
  } finally {
    over.resolve(new Response());
    await server.shutdown();
  }
}

Deno.test("an action is one request, with the answer's own words", async () => {
  await beside([], async (settings, asked) => {
    await new Graph(settings).act(undefined, "wacid.X=", "pre_accept", "v=0\r\n");
    await new Graph(settings).act("107", "wacid.X=", "terminate");
    const said = { messaging_product: "whatsapp", call_id: "wacid.X=" };
    assertEquals(asked, [
      {
        path: "/v25.0/106/calls",
        authorization: "Bearer token",
        body: { ...said, action: "pre_accept", session: { sdp_type: "answer", sdp: "v=0\r\n" } },
      },
      { path: "/v25.0/107/calls", authorization: "Bearer token", body: { ...said, action: "terminate" } },
    ]);
  });
});

Deno.test("a refusal is told in Meta's words and not asked again", async () => {
  await beside([refusal(100, { error_subcode: 2_494_010 })], async (settings, asked) => {
    await rejects(new Graph(settings).act(undefined, "X", "accept", "v=0"), (error) => {
      assert(error instanceof GraphRefusedError);
      assertEquals([error.action, error.status, error.code, error.subcode, error.details, error.fbtraceId], [
        "accept",
        400,
        100,
        2_494_010,
        "Fingerprint algo is not SHA256",
        "Ab0",
      ]);
      return true;
    });
    assertEquals(asked.length, 1);
  });
});

Deno.test("what may pass is asked once more, and no more than once", async () => {
  const passing: ([number, unknown] | "silence")[] = [
    [503, "no JSON"],
    [500, { error: { code: 2, is_transient: true } }],
    refusal(2, { is_transient: true }),
    "silence",
  ];
  for (const first of passing) {
    await beside([first], async (settings, asked) => {
      await new Graph(settings).act(undefined, "X", "reject");
      assertEquals(asked.length, 2, JSON.stringify(first));
    });
  }
  await beside(["silence", "silence"], async (settings, asked) => {
    await rejects(
      new Graph(settings).act(undefined, "X", "reject"),
      (error) => error instanceof GraphUnreachableError && error.why === "timeout",
    );
    assertEquals(asked.length, 2);
  });
  await beside([[502, "<html>"], [502, "<html>"]], async (settings) => {
    await rejects(
      new Graph(settings).act(undefined, "X", "reject"),
      (error) => error instanceof GraphUnreachableError && error.why === "status 502",
    );
  });
});

Deno.test("a success that says it is none is a refusal", async () => {
  await beside([[200, { success: false }]], async (settings) => {
    await rejects(new Graph(settings).act(undefined, "X", "reject"), GraphRefusedError);
  });
});

/** The function, and what a callback with this body is answered. */
function callbacks(settings: GraphSettings, secret: string | undefined = SECRET) {
  const variables: Record<string, string> = {
    VOICE_BRIDGE_MODE: "self",
    VOICE_BRIDGE_URL: "http://127.0.0.1:9",
    WHATSAPP_APP_SECRET: "app",
    WHATSAPP_ACCESS_TOKEN: settings.accessToken,
    WHATSAPP_PHONE_NUMBER_ID: "106",
    WHATSAPP_GRAPH_URL: settings.url,
    WHATSAPP_GRAPH_TIMEOUT_MS: String(settings.timeoutMs),
    VOICEBRIDGE_CALLBACK_SECRET: secret,
  };
  const log = new Log({}, [], () => {});
  const handler = voiceCalls(callSettings({ get: (name) => variables[name] }), log, new Background());
  return async (body: string, { signedAt = new Date(), by = SECRET }: { signedAt?: Date; by?: string } = {}) => {
    const id = "msg_1";
    const response = await handler(
      new Request("http://edge/wa-webhook-voice-calls/callback", {
        method: "POST",
        body,
        headers: {
          "webhook-id": id,
          "webhook-timestamp": String(Math.floor(signedAt.getTime() / 1000)),
          "webhook-signature": new Webhook(by).sign(id, signedAt, body),
        },
      }),
    );
    const text = await response.text();
    return [response.status, text.startsWith("{") ? JSON.parse(text).reason : text];
  };
}

const wanted = (data: Record<string, unknown>, type = "call.terminate_required") =>
  JSON.stringify({ type, timestamp: "2026-11-26T10:00:00Z", data });
const WANTED = wanted({
  wacid: "wacid.X=",
  phoneNumberId: "107",
  action: "terminate",
  termination: { result: "completed", reason: "AGENT_HANGUP", message: "" },
});

Deno.test("a callback hangs up, and once more does no harm", async () => {
  await beside([OK, refusal(100)], async (settings, asked) => {
    const callback = callbacks(settings);
    assertEquals(await callback(WANTED), [200, "ok"]);
    assertEquals(await callback(WANTED), [200, "ok"]);
    assertEquals(asked.map(({ path, body }) => [path, body.action, body.call_id]), [
      ["/v25.0/107/calls", "terminate", "wacid.X="],
      ["/v25.0/107/calls", "terminate", "wacid.X="],
    ]);
  });
});

Deno.test("a callback before the answer rejects, and terminates what Graph will not reject", async () => {
  await beside([refusal(100)], async (settings, asked) => {
    assertEquals(await callbacks(settings)(wanted({ wacid: "X", action: "reject" })), [200, "ok"]);
    assertEquals(asked.map(({ path, body }) => [path, body.action]), [
      ["/v25.0/106/calls", "reject"],
      ["/v25.0/106/calls", "terminate"],
    ]);
  });
});

Deno.test("a callback is asked for again when Graph is away", async () => {
  await beside([[500, ""], [500, ""]], async (settings) => {
    assertEquals(await callbacks(settings)(WANTED), [502, "GRAPH_UNREACHABLE"]);
  });
});

Deno.test("a callback that is not the control plane's does nothing", async () => {
  await beside([], async (settings, asked) => {
    const callback = callbacks(settings);
    const old = new Date(Date.now() - 3_600_000);
    assertEquals(await callback(WANTED, { by: `whsec_${btoa("somebody else's secret, of old")}` }), [
      401,
      "CALLBACK_SIGNATURE_INVALID",
    ]);
    assertEquals(await callback(WANTED, { signedAt: old }), [401, "CALLBACK_SIGNATURE_INVALID"]);
    assertEquals(await callback("{"), [400, "CALLBACK_MALFORMED"]);
    for (const data of [{}, { wacid: "X", action: "accept" }, { wacid: "", action: "reject" }]) {
      assertEquals(await callback(wanted(data)), [400, "CALLBACK_MALFORMED"], JSON.stringify(data));
    }
    assertEquals(await callback(wanted({}, "call.something_new")), [200, "ok"]);
    assertEquals(asked, []);
  });
});
