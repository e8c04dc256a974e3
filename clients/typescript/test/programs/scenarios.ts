// Runs the scenarios of tests/clients against a client, in whatever runtime this is: Node, Deno or a browser.

import {
  type Connect,
  EventKind,
  EventStream,
  type FollowRequest,
  StreamStart,
  VoiceBridgeError,
} from "@voicebridge/client";
import type { MakeClient } from "./programs.ts";

/** Some scenarios are about waiting. */
const AT_A_TIME = 10;

interface Settings {
  random?: number[];
  max_attempts?: number;
  assumed_keepalive_ms?: number;
  cancel_after?: number;
  deadline_ms?: number;
}

export interface Scenario {
  about: string;
  request: {
    call_id: string;
    cursor?: string;
    start?: keyof typeof StreamStart;
    kinds?: (keyof typeof EventKind)[];
    phone_number_ids?: string[];
    caller_phone_numbers?: string[];
  };
  settings?: Settings;
  connections: unknown[];
  delivered: string[];
  end: string | { code: string; reason: string };
  cursor: string;
  delays_ms: number[];
}

/** What a client showed in a run, in the words of the scenario file, and what the server found wrong. */
export type Outcome = Pick<Scenario, "delivered" | "end" | "cursor" | "delays_ms"> & {
  connections: number;
  violations: string[];
};

/** The scenarios a server has, by name. */
export async function scenarios(server: string): Promise<Record<string, Scenario>> {
  return (await (await fetch(`${server}/scenarios`)).json()) as Record<string, Scenario>;
}

/** What must come out of a scenario. */
export function expected(scenario: Scenario): Outcome {
  const { delivered, end, cursor, delays_ms } = scenario;
  return { delivered, end, cursor, delays_ms, connections: scenario.connections.length, violations: [] };
}

/** Runs all, several at a time, and tells how each went: what it showed, or what the runner itself failed with. */
export async function runAll(server: string, make: MakeClient): Promise<Record<string, Outcome | string>> {
  const outcomes: Record<string, Outcome | string> = {};
  const waiting = Object.entries(await scenarios(server));
  const worker = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [name, scenario] = next;
      outcomes[name] = await run(server, name, scenario, make).catch(String);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return outcomes;
}

async function run(server: string, name: string, scenario: Scenario, make: MakeClient): Promise<Outcome> {
  // Browsers drop what they have received and nobody has read yet when a connection breaks.
  const begun = await post(`${server}/runs`, { scenario: name, tells_taken: true });
  const { calls } = make({ url: begun.url, apiKey: begun.api_key });
  const taken = counter((responses) => post(`${server}/runs/${begun.run}/taken`, { responses }));
  const followed = await follow((from, signal) => taken.count(calls.streamEvents(from, { signal })), scenario);
  await taken.told();
  const report = await post(`${server}/runs/${begun.run}/end`, {});
  return { ...followed, connections: report.connections, violations: report.violations };
}

/** Counts what passes, and tells so in order, without holding it up. */
function counter(tell: (responses: number) => Promise<unknown>) {
  let responses = 0;
  let telling: Promise<unknown> = Promise.resolve();
  return {
    async *count<T>(stream: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
      for await (const response of stream) {
        const sofar = ++responses;
        telling = telling.then(() => tell(sofar));
        yield response;
      }
    },
    told: () => telling,
  };
}

async function follow(connect: Connect, scenario: Scenario) {
  const settings = scenario.settings ?? {};
  const delays_ms: number[] = [];
  const delivered: string[] = [];
  const user = new AbortController();
  const stream = new EventStream(connect, request(scenario), {
    signal: user.signal,
    timeoutMs: settings.deadline_ms,
    maxAttempts: settings.max_attempts,
    assumedKeepaliveMs: settings.assumed_keepalive_ms,
    sleep: async (ms) => void delays_ms.push(ms),
    random: cycle(settings.random),
  });
  let end: Scenario["end"] = "complete";
  try {
    for await (const { event, lagged } of stream) {
      if (lagged) delivered.push(`lagged ${lagged.transientMissed}`);
      if (event) delivered.push(`event ${event.callId} ${event.sequence} ${kindName(event.kind.case)}`);
      if (delivered.length === settings.cancel_after) user.abort();
    }
  } catch (error) {
    end = ending(error, user.signal, settings.deadline_ms !== undefined);
  }
  return { delivered, end, cursor: stream.cursor, delays_ms };
}

function request({ request }: Scenario): FollowRequest {
  return {
    callId: request.call_id,
    cursor: request.cursor ?? "",
    start: StreamStart[request.start ?? "UNSPECIFIED"],
    kinds: (request.kinds ?? []).map((kind) => EventKind[kind]),
    phoneNumberIds: request.phone_number_ids ?? [],
    callerPhoneNumbers: request.caller_phone_numbers ?? [],
  };
}

function ending(error: unknown, user: AbortSignal, deadline: boolean): Scenario["end"] {
  if (!(error instanceof VoiceBridgeError)) throw error;
  if (error.nextStep === "") throw new Error("an error without a next step");
  if (user.aborted && error.code === "CANCELLED") return "cancelled";
  if (deadline && error.code === "DEADLINE_EXCEEDED") return "deadline";
  return { code: error.code, reason: error.reason };
}

/** `partialTranscript` is PARTIAL_TRANSCRIPT, no kind that we know is UNSPECIFIED. */
function kindName(kind: string | undefined): string {
  return kind === undefined ? "UNSPECIFIED" : kind.replace(/[A-Z]/g, "_$&").toUpperCase();
}

function cycle(numbers: number[] | undefined): (() => number) | undefined {
  let next = 0;
  return numbers && (() => numbers[next++ % numbers.length] as number);
}

// biome-ignore lint/suspicious/noExplicitAny: the answers are described in tests/clients/README.md
async function post(url: string, body: unknown): Promise<any> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}
