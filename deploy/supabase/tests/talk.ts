// What callers say in the scenarios, and what must be true of every call that went well.

import assert, { deepEqual as assertEquals } from "node:assert/strict";

import type { AiSession, Caller, CallRecord, Line } from "./simulator.ts";

/** Speech that came through Opus and a packet network keeps its envelope; anything broken does not. */
const INTACT = 0.95;

const heard: Line = { wait_heard: 700 };

/** Listens to the greeting, asks one question, listens to the answer, hangs up. */
export const ASKS_ONE_QUESTION: Caller = { script: [heard, { say: "opening-hours" }, heard, "hang_up"] };
/** The same, then says goodbye and leaves hanging up to the AI. */
export const SAYS_GOODBYE: Caller = { script: [heard, { say: "goodbye-en" }, "listen"] };
/** Hangs up as soon as the greeting begins. */
export const HANGS_UP_AT_ONCE: Caller = { script: ["wait_for_speech", "hang_up"] };

/** The caller heard these recordings of the AI, whole, and no other. */
export function assertHeard(record: CallRecord, expected: string[]): void {
  assertEquals(record.heard.map((one) => one.name), expected, "what the caller heard");
  for (const one of record.heard) assert(one.portion >= 1 && one.correlation >= INTACT, JSON.stringify(one));
}

/** The AI heard these recordings of the caller, whole, and no other. */
export function assertUnderstood(session: AiSession, expected: string[]): void {
  assertEquals(session.heard.map((one) => one?.name), expected, "what the AI heard");
  for (const one of session.heard) assert(one !== null && one.portion >= 1 && one.correlation >= INTACT);
}

/** Nobody had anything to complain about. */
export function assertNoViolations(record: CallRecord, session?: AiSession): void {
  assertEquals(record.violations, [], "Meta's rules");
  if (session === undefined) return;
  // A response may finish while our cancel is on its way.
  assertEquals(session.violations.filter((text) => !/no active response/i.test(text)), [], "the AI's rules");
  assertEquals(session.appendedBeforeUpdate, 0, "audio before the session was configured");
}

/** What was asked of Graph and granted, in order. */
export function granted(record: CallRecord): string[] {
  return record.graph.filter((exchange) => exchange.granted).map((exchange) => exchange.action);
}
