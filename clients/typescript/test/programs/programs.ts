// What the tests have each runtime do: the same code in Node, in Deno and in a browser.

import { toBinary } from "@bufbuild/protobuf";
import { EventSchema, VoiceBridge, VoiceBridgeError } from "@voicebridge/client";
import { runAll } from "./scenarios.ts";

/** How a runtime makes its client. */
export type MakeClient = (options: { url: string; apiKey: string }) => Pick<VoiceBridge, "calls" | "follow">;

/** Of a control plane, and of a call if there is one. */
export interface Target {
  url: string;
  apiKey: string;
  callId: string;
}

/** A durable event has come. */
export interface Progress {
  sequence: number;
  kind: string | undefined;
}

/** What a program tells while it runs. */
export type Report = (progress: Progress) => void;

/** The events of a call until its end, protobuf in base64, in the order in which they came; and how many connections it took. */
export async function follow(make: MakeClient, { callId, ...options }: Target, report: Report) {
  const events: string[] = [];
  let connections = 1;
  const random = () => {
    connections += 1;
    return Math.random();
  };
  for await (const { event } of make(options).follow({ callId }, { random })) {
    // Transient events are live only: nobody can say which ones there must be.
    if (event === undefined || event.sequence === 0n) continue;
    events.push(base64(toBinary(EventSchema, event)));
    report({ sequence: Number(event.sequence), kind: event.kind.case });
  }
  return { events, connections };
}

/** Bad input: the error of each, as a user sees it. */
export async function mistakes(make: MakeClient, { url, apiKey, callId }: Target) {
  const client = make({ url, apiKey });
  const stranger = make({ url, apiKey: "no-such-key" });
  const other = await cursorOf(make({ url, apiKey }), callId);
  return {
    wrongKey: await failure(stranger.calls.getCall({ callId })),
    wrongKeyStream: await failure(drain(stranger.follow({ callId }))),
    unknownCall: await failure(client.calls.getCall({ callId: "wacid.nobody" })),
    unknownCallStream: await failure(drain(client.follow({ callId: "wacid.nobody" }))),
    longCallId: await failure(client.calls.getCall({ callId: "x".repeat(10_240) })),
    longCallIdStream: await failure(drain(client.follow({ callId: "x".repeat(10_240) }))),
    foreignCursor: await failure(drain(client.follow({ callId, cursor: "not-a-cursor" }))),
    cursorOfOneForAll: await failure(drain(client.follow({ cursor: other }))),
    tooLittleTime: await failure(client.calls.getCall({ callId }, { timeoutMs: 1 })),
    cancelled: await failure(client.calls.getCall({ callId }, { signal: AbortSignal.abort() })),
    noUrl: await failure((async () => make({ url: "voice.example.com", apiKey }))()),
  };
}

async function cursorOf(client: ReturnType<MakeClient>, callId: string): Promise<string> {
  const stream = client.follow({ callId });
  for await (const { cursor } of stream) return cursor;
  return stream.cursor;
}

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof VoiceBridgeError)) return `not ours: ${error}`;
    return error.nextStep === "" ? "without a next step" : `${error.code} ${error.reason}`.trim();
  }
  return "no error";
}

/** For the way from one runtime to another. */
export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** Every program by name. */
export const PROGRAMS = {
  scenarios: (make: MakeClient, { server }: { server: string }) => runAll(server, make),
  follow,
  mistakes,
};

export type ProgramName = keyof typeof PROGRAMS;

/** As the runtimes without an import of their own make it: gRPC-web. */
export const overFetch: MakeClient = (options) => new VoiceBridge(options);
