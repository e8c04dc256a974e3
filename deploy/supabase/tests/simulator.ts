// `voicebridge-simulator serve`: Meta, its callers and a realtime AI, told what to do in JSON lines.

import { binary } from "./binaries.ts";
import { Process } from "./process.ts";

export interface Introduction {
  graphUrl: string;
  accessToken: string;
  appSecret: string;
  verifyToken: string;
  phoneNumberId: string;
  aiUrl: string;
}

export type Line =
  | { wait_heard: number }
  | { say: string }
  | { silence: number }
  | "wait_for_speech"
  | "listen"
  | "hang_up";

export interface Caller {
  from?: string;
  profileName?: string;
  script?: Line[];
  hangUpWhileRingingMs?: number;
  connect?: "once" | "withheld" | "after_terminate" | { copies: number } | { stale: number };
  faults?: { action: string; refuse: number; times?: number }[];
}

export interface Dialled {
  callId: string;
  /** The `value` of the connect webhook. */
  connect: Record<string, unknown>;
}

export interface Recognised {
  name: string;
  correlation: number;
  portion: number;
}

export interface CallRecord {
  callId: string;
  endedBy: string;
  graph: { action: string; granted: boolean; code: number | null; details: string | null }[];
  heard: Recognised[];
  packets: number;
  sdpPreAccept: string | null;
  sdpAccept: string | null;
  violations: string[];
  timelineMs: Record<string, number>;
}

export interface Webhook {
  events: string;
  callIds: string[];
  attempt: number;
  elapsedMs: number;
  status: number | null;
  problem: string | null;
}

export interface AiSession {
  httpStatus: number;
  instructions: string;
  config: Record<string, unknown>;
  heard: (Recognised | null)[];
  said: string[];
  appendedBeforeUpdate: number;
  violations: string[];
  closed: string | null;
}

export type Signing = "wrong_secret" | "missing";

/** Longest call of a test. */
const CALL_MS = 120_000;

export class Simulator {
  #number = 0;

  private constructor(private readonly process: Process, readonly introduction: Introduction) {}

  static async start(args: string[] = []): Promise<Simulator> {
    const process = new Process({
      name: "simulator",
      command: binary("voicebridge-simulator"),
      args: ["serve", ...args],
      orders: true,
    });
    const line = await process.line("introduction", (line) => line.startsWith("{") && line.includes("graphUrl"));
    return new Simulator(process, JSON.parse(line));
  }

  async #order<T>(what: string, order: Record<string, unknown> = {}, limitMs?: number): Promise<T> {
    const number = ++this.#number;
    await this.process.order(JSON.stringify({ number, do: what, ...order }));
    const mine = new RegExp(`^\\{.*"number":${number}[,}]`);
    const line = await this.process.line(
      `answer to ${what}`,
      (line) => mine.test(line) && isAnswer(line, number),
      limitMs,
    );
    const { answer, error } = JSON.parse(line);
    if (error !== undefined) throw new Error(`simulator: ${what}: ${error}`);
    return answer as T;
  }

  webhooksGoTo(url: string): Promise<void> {
    return this.#order("webhook", { url });
  }

  verify(token?: string): Promise<{ status: number; body: string; challenge: string }> {
    return this.#order("verify", { token });
  }

  call(caller: Caller): Promise<Dialled> {
    return this.#order("call", { caller });
  }

  batch(callers: Caller[]): Promise<Dialled[]> {
    return this.#order("batch", { callers });
  }

  reached(callId: string, moment: string): Promise<boolean> {
    return this.#order("reached", { callId, moment }, CALL_MS);
  }

  hangUp(callId: string): Promise<void> {
    return this.#order("hang_up", { callId });
  }

  finish(callId: string): Promise<CallRecord> {
    return this.#order("finish", { callId }, CALL_MS);
  }

  deliver(values: unknown[], signing?: Signing): Promise<Webhook> {
    return this.#order("deliver", { values, signing });
  }

  deliverRaw(body: string, signing?: Signing): Promise<Webhook> {
    return this.#order("deliver_raw", { body, signing });
  }

  webhooks(): Promise<Webhook[]> {
    return this.#order("webhooks");
  }

  sessions(): Promise<AiSession[]> {
    return this.#order("sessions");
  }

  async stop(): Promise<void> {
    await this.process.stop();
  }
}

function isAnswer(line: string, number: number): boolean {
  return JSON.parse(line).number === number;
}
