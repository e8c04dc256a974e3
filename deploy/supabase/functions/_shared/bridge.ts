// The control plane, as far as these functions need it. Everything about the client library is in here.

import {
  type Call,
  EndReason,
  NoticeOutcome,
  Progress,
  SignallingMode,
  SignallingStage,
  Speaker,
  type StartSessionResponse,
  type Termination,
  TerminationResult,
  type Transcript,
  VoiceBridge,
  VoiceBridgeError,
} from "@voicebridge/client";

import { pause } from "./background.ts";
import { since } from "./log.ts";
import type { Profile } from "./profiles.ts";
import type { Caller, Connect } from "./webhook.ts";

export {
  type Call,
  EndReason,
  NoticeOutcome,
  Progress,
  Speaker,
  type Termination,
  TerminationResult,
  type Transcript,
  VoiceBridgeError,
};

export type Stage = "ANSWER_DELIVERED" | "ACCEPTED";

/** How the AI is to behave, as far as a profile says; the agent file says the rest. */
export interface Agent {
  language: string;
  variables: Record<string, string>;
}

/** How the AI is to behave on calls of one caller. */
export interface CallerAgent {
  caller: Caller;
  agent: Agent;
}

/** How far a call has got: what it has reached, and how many milliseconds after its webhook. */
export interface Standing {
  reached: Map<Progress, number>;
  /** Set once it is over. */
  termination: Termination | undefined;
}

/** Agents that go along with one delivery, as the contract has it. */
export const MAX_AGENTS = 64;

/** A caller's number in international form, as E.164 has it, and the longest id of one, as the contract has it. */
const NUMBER = /^[0-9]{1,15}$/;
const MAX_ID_BYTES = 512;

/** A session that was started for this call. */
export interface Started {
  sdpAnswer: string;
  /** By somebody else, for the same call: they see to it. */
  byAnother: boolean;
}

/** What is still asked of the control plane for a delivery then is answered 503, and Meta delivers again. */
export const TAKEN_WITHIN_MS = 13_000;

/** One request to the control plane. */
const TIMEOUT_MS = 5000;
/** EndCall: it answers after 5 s if the end takes longer. */
const END_TIMEOUT_MS = 8000;
/** Longest wait for a call's progress in one request: so soon it is noticed that the control plane has gone silent. */
const MAX_WAIT_MS = 5000;
/** What an answer may take after a deadline: asked to wait until then, the control plane answers then. */
const MARGIN_MS = 250;
/** Transcripts asked for at a time. */
const PAGE = 1000;
/** First pause before a request without an answer is made again; each is twice the one before, up to the longest. */
const RETRY_DELAY_MS = 100;
const LONGEST_DELAY_MS = 1600;

const STAGES: Record<Stage, SignallingStage> = {
  ANSWER_DELIVERED: SignallingStage.ANSWER_DELIVERED,
  ACCEPTED: SignallingStage.ACCEPTED,
};

export class Bridge {
  readonly #client: VoiceBridge;

  /** A control plane that restarts is back within `retryMs`. */
  constructor(url: string, apiKey: string | undefined, private readonly retryMs: number) {
    this.#client = new VoiceBridge({ url, apiKey, timeoutMs: TIMEOUT_MS });
  }

  /** What became of each call of a delivery, by Meta's id. */
  async handleWebhook(
    body: Uint8Array<ArrayBuffer>,
    signature: string,
    of: CallerAgent[],
    receivedAt: number,
  ): Promise<Map<string, NoticeOutcome>> {
    const agents = of.map(({ caller, agent }) => ({ ...identified(caller), agent }))
      .filter(({ phoneNumber, userId }) => phoneNumber !== "" || userId !== "");
    const response = await this.#again(
      () => this.#client.calls.handleWebhook({ body, signature, agents }),
      lastTry(receivedAt, TIMEOUT_MS),
    );
    return new Map(response.outcomes.map(({ wacid, outcome }) => [wacid, outcome]));
  }

  /** `undefined`: somebody else had begun the call otherwise, as with a profile that was not found this time; it is theirs. */
  async start(
    connect: Connect,
    agent: Agent | undefined,
    receivedAt: number,
  ): Promise<Started | undefined> {
    let asked = 0;
    const request = () => {
      asked += 1;
      return this.#client.calls.startSession({
        callId: connect.callId,
        sdpOffer: connect.sdpOffer,
        caller: {
          phoneNumber: connect.caller.phoneNumber ?? "",
          userId: connect.caller.userId ?? "",
          name: connect.caller.name ?? "",
        },
        agent,
        signallingMode: SignallingMode.STAGED,
        elapsedMs: BigInt(since(receivedAt)),
        phoneNumberId: connect.phoneNumberId ?? "",
        ...connect.payloads,
      });
    };
    let response: StartSessionResponse;
    try {
      response = await this.#again(request, lastTry(receivedAt, TIMEOUT_MS));
    } catch (error) {
      if (reasonOf(error) === "START_ARGUMENTS_DIFFER") return undefined;
      throw error;
    }
    // The second try may find what the first, whose answer got lost, has begun.
    return { sdpAnswer: response.sdpAnswer, byAnother: response.alreadyStarted && asked === 1 };
  }

  /** Throws at `deadlineMs` what went wrong until then. */
  async advance(callId: string, stage: Stage, deadlineMs = Infinity): Promise<void> {
    const request = () =>
      this.#client.calls.advanceSession({ callId, stage: STAGES[stage] }, {
        timeoutMs: allowed(TIMEOUT_MS, deadlineMs),
      });
    await this.#again(request, deadlineMs);
  }

  /** The termination that stands, `reason` unless there was one before; `undefined` when the call is not known, which the control plane then remembers. */
  async end(callId: string, reason: EndReason, receivedAt?: number): Promise<Termination | undefined> {
    try {
      const response = await this.#again(
        () => this.#client.calls.endCall({ callId, reason }, { timeoutMs: END_TIMEOUT_MS }),
        receivedAt === undefined ? Infinity : lastTry(receivedAt, END_TIMEOUT_MS),
      );
      return response.termination;
    } catch (error) {
      if (reasonOf(error) === "CALL_NOT_FOUND") return undefined;
      throw error;
    }
  }

  async call(callId: string): Promise<Call | undefined> {
    try {
      return (await this.#again(() => this.#client.calls.getCall({ callId }))).call;
    } catch (error) {
      if (reasonOf(error) === "CALL_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** All that was said on a call, in the order of its beginning. */
  async transcripts(callId: string): Promise<Transcript[]> {
    const said: Transcript[] = [];
    let pageToken = "";
    do {
      const page = await this.#again(() => this.#client.calls.listTranscripts({ callId, pageSize: PAGE, pageToken }));
      said.push(...page.transcripts);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return said;
  }

  /**
   * How far the call has got: once all of `until` is reached, or the call is over, or it is later than `untilMs`. Restarts of
   * the control plane in between are asked through, and so is that it serves as many waits as it may; what is still wrong at
   * `deadlineMs` is thrown.
   */
  async wait(callId: string, until: Progress[], untilMs: number, deadlineMs = untilMs): Promise<Standing> {
    const request = () => {
      const timeoutMs = Math.min(Math.max(0, untilMs - Date.now()), MAX_WAIT_MS);
      return this.#client.calls.waitForSession(
        { callId, until, timeoutMs },
        { timeoutMs: allowed(timeoutMs + TIMEOUT_MS, deadlineMs) },
      );
    };
    for (;;) {
      const { reached, termination } = await this.#again(request, deadlineMs, isFull);
      const found = new Map(reached.map(({ progress, elapsedMs }) => [progress, Number(elapsedMs)]));
      const isOver = found.has(Progress.ENDED) || (termination !== undefined && !until.includes(Progress.ENDED));
      if (isOver || until.every((progress) => found.has(progress)) || Date.now() >= untilMs) {
        return { reached: found, termination };
      }
    }
  }

  /**
   * Asks until there is an answer, or `retryMs` after the first failure, or until it is later than `lastTryAt`. An answer that
   * `passes` is waited out, however long: whoever gave it is there.
   */
  async #again<T>(
    request: () => Promise<T>,
    lastTryAt = Infinity,
    passes: (error: unknown) => boolean = () => false,
  ): Promise<T> {
    let giveUpAt: number | undefined;
    for (let delay = RETRY_DELAY_MS;; delay = Math.min(2 * delay, LONGEST_DELAY_MS)) {
      try {
        return await request();
      } catch (error) {
        const isPassing = passes(error);
        if (isAnswered(error) && !isPassing) throw error;
        // Not from the beginning of the request, which may have waited for longer than that.
        giveUpAt = isPassing ? undefined : giveUpAt ?? Date.now() + this.retryMs;
        const least = error instanceof VoiceBridgeError ? error.retryDelayMs : 0;
        const length = Math.max(delay, least);
        if (Date.now() + length > Math.min(giveUpAt ?? Infinity, lastTryAt)) throw error;
        await pause(length);
      }
    }
  }
}

/**
 * What an agent is matched by. Of one that is no number, or no id, the control plane would refuse the whole delivery, however
 * often it comes.
 */
function identified({ phoneNumber = "", userId = "" }: Caller): { phoneNumber: string; userId: string } {
  const isId = !/\p{Cc}/u.test(userId) && new TextEncoder().encode(userId).length <= MAX_ID_BYTES;
  return { phoneNumber: NUMBER.test(phoneNumber) ? phoneNumber : "", userId: isId ? userId : "" };
}

/** Milliseconds for a request that must be over by a deadline. */
function allowed(timeoutMs: number, deadlineMs: number): number {
  return Math.min(timeoutMs, Math.max(0, deadlineMs - Date.now()) + MARGIN_MS);
}

/** A request for a delivery that begins later than this would meet what Meta's next delivery begins. */
function lastTry(receivedAt: number, timeoutMs: number): number {
  return receivedAt + TAKEN_WITHIN_MS - timeoutMs;
}

/** How the AI is to behave for this caller; nothing when nothing is known. */
export function agentFor(profile: Profile | undefined): Agent | undefined {
  if (profile === undefined) return undefined;
  const variables: Record<string, string> = {};
  if (profile.name !== undefined) variables.name = profile.name;
  if (profile.language !== undefined) variables.language = profile.language;
  return { language: profile.language ?? "", variables };
}

/** The stable reason of an error of the control plane. */
export function reasonOf(error: unknown): string | undefined {
  return error instanceof VoiceBridgeError ? error.reason || undefined : undefined;
}

/** An answer, or nothing that waiting would mend. */
function isAnswered(error: unknown): boolean {
  return !(error instanceof VoiceBridgeError) || !["UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED"].includes(error.code);
}

/** It serves as many as it may; that passes. */
function isFull(error: unknown): boolean {
  return error instanceof VoiceBridgeError && error.code === "RESOURCE_EXHAUSTED";
}
