// A control plane of the test's own, over gRPC-web: what it says to each request is the test's to choose.

import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { CallService } from "@voicebridge/client";

/** A status of gRPC, and when to ask again. */
export interface Refusal {
  status: number;
  retryDelayMs?: number;
}

/** The message that is answered, a status, or nothing until the test is over. */
export type Answer = Record<string, unknown> | Refusal | "silence";

export interface Request {
  method: string;
  message: Record<string, unknown>;
  /** The client's deadline. */
  allowedMs: number;
}

export const [RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE] = [8, 13, 14];

/** Runs `test` beside one; every request that came is kept. */
export async function besidePlane(
  answer: (request: Request) => Answer | Promise<Answer>,
  test: (url: string, asked: Request[]) => Promise<void>,
): Promise<void> {
  const asked: Request[] = [];
  const over = Promise.withResolvers<void>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const name = new URL(request.url).pathname.split("/").at(-1);
    const method = CallService.methods.find((method) => method.name === name);
    if (method === undefined) return new Response(null, { status: 404 });
    const frames = new Uint8Array(await request.arrayBuffer());
    const message = fromBinary(method.input as DescMessage, frames.subarray(5)) as unknown as Record<string, unknown>;
    const allowedMs = Number(request.headers.get("grpc-timeout")?.replace("m", ""));
    const one = { method: method.name, message, allowedMs };
    asked.push(one);
    const given = await answer(one);
    if (given === "silence") {
      await over.promise;
      return new Response(null, { status: 503 });
    }
    const refused = isRefusal(given);
    const body = refused ? trailers(given) : [
      ...frame(0, toBinary(method.output, create(method.output, given as MessageInitShape<typeof method.output>))),
      ...trailers({ status: 0 }),
    ];
    return new Response(new Uint8Array(body), { headers: { "content-type": "application/grpc-web+proto" } });
  });
  try {
    await test(`http://127.0.0.1:${server.addr.port}`, asked);
  } finally {
    over.resolve();
    await server.shutdown();
  }
}

function isRefusal(answer: Answer): answer is Refusal {
  return typeof answer === "object" && "status" in answer;
}

function frame(flags: number, content: Uint8Array): number[] {
  const head = new DataView(new ArrayBuffer(5));
  head.setUint8(0, flags);
  head.setUint32(1, content.length);
  return [...new Uint8Array(head.buffer), ...content];
}

function trailers({ status, retryDelayMs }: Refusal): number[] {
  const lines = [`grpc-status: ${status}`, "grpc-message: on demand"];
  if (retryDelayMs !== undefined) lines.push(`grpc-status-details-bin: ${details(status, retryDelayMs)}`);
  return frame(0x80, new TextEncoder().encode(lines.map((line) => `${line}\r\n`).join("")));
}

/** google.rpc.Status with a google.rpc.RetryInfo, by hand. */
function details(status: number, retryDelayMs: number): string {
  const delay = new BinaryWriter().tag(1, 0).int64(0).tag(2, 0).int32(retryDelayMs * 1e6).finish();
  const info = new BinaryWriter().tag(1, 2).bytes(delay).finish();
  const any = new BinaryWriter().tag(1, 2).string("type.googleapis.com/google.rpc.RetryInfo").tag(2, 2).bytes(info);
  const whole = new BinaryWriter().tag(1, 0).int32(status).tag(3, 2).bytes(any.finish()).finish();
  return btoa(String.fromCharCode(...whole));
}
