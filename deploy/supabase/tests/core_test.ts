// The core, with functions of the test's own behind it.

import assert, { deepEqual as assertEquals } from "node:assert/strict";
import { createHmac } from "node:crypto";

import { RECEIVED_HEADER, SIGNATURE_HEADER } from "../functions/_shared/http.ts";
import { Log } from "../functions/_shared/log.ts";
import { core } from "../functions/wa-webhook-core/handler.ts";

const SECRET = "app-secret";

interface Forwarded {
  field: string;
  body: string;
  signature: string | null;
  receivedAt: number;
}

/** Runs `test` with a core that routes `calls` and `messages` to functions which answer as `answers` says, by turns. */
async function behind(
  answer: (nth: number) => Promise<number> | number,
  test: (deliver: (body: string) => Promise<number>, got: Forwarded[]) => Promise<void>,
): Promise<void> {
  const got: Forwarded[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const nth = got.push({
      field: new URL(request.url).pathname.slice(1),
      body: await request.text(),
      signature: request.headers.get(SIGNATURE_HEADER),
      receivedAt: Number(request.headers.get(RECEIVED_HEADER)),
    });
    return new Response(null, { status: await answer(nth) });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  const routes = new Map([["calls", `${url}/calls`], ["messages", `${url}/messages`]]);
  const handler = core({ appSecret: SECRET, verifyToken: "word", routes }, new Log({}, [], () => {}));
  const deliver = async (body: string) => {
    const signature = `sha256=${createHmac("sha256", SECRET).update(body).digest("hex")}`;
    const headers = { [SIGNATURE_HEADER]: signature };
    return (await handler(new Request("http://core/", { method: "POST", body, headers }))).status;
  };
  try {
    await test(deliver, got);
  } finally {
    await server.shutdown();
  }
}

const of = (...fields: string[]) => JSON.stringify({ entry: [{ changes: fields.map((field) => ({ field })) }] });

Deno.test("a delivery reaches each function once, byte for byte and with its signature", async () => {
  await behind(() => 200, async (deliver, got) => {
    const before = Date.now();
    const body =
      `{ "entry" : [ {"changes":[{"field":"calls"},{"field":"messages"},{"field":"calls"}]} ], "n":"\\u00fa" }`;
    assertEquals(await deliver(body), 200);
    assertEquals(got.map(({ field }) => field).sort(), ["calls", "messages"]);
    for (const forwarded of got) {
      assertEquals(forwarded.body, body);
      assert(forwarded.signature?.startsWith("sha256="));
      assert(forwarded.receivedAt >= before && forwarded.receivedAt <= Date.now());
    }
  });
});

Deno.test("what nobody is responsible for is answered 200 and goes nowhere", async () => {
  await behind(() => 200, async (deliver, got) => {
    assertEquals(await deliver(of("account_update")), 200);
    assertEquals(await deliver("{}"), 200);
    assertEquals(got, []);
  });
});

Deno.test("a function that says no is asked once more, and then it is Meta's to hear, who delivers again", async () => {
  await behind((nth) => nth <= 3 ? 503 : 200, async (deliver, got) => {
    assertEquals(await deliver(of("calls")), 503);
    assertEquals(got.length, 2);
    assertEquals(await deliver(of("calls")), 200);
    assertEquals(got.length, 4);
  });
});

Deno.test("there is no 200 before a function has taken the delivery, however long that takes", async () => {
  const slow = Promise.withResolvers<number>();
  await behind((nth) => nth === 1 ? slow.promise : 200, async (deliver, got) => {
    let answered = false;
    const delivered = deliver(of("calls")).finally(() => answered = true);
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert(!answered, "nothing has taken it yet");
    slow.resolve(500);
    assertEquals(await delivered, 200);
    assertEquals(got.length, 2);
  });
});
