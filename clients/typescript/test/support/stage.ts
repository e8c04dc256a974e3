// The whole system, moved by HTTP: see "The stage" in tests/clients/README.md.

import { Child } from "./child.ts";

interface Ready {
  url: string;
  control_url: string;
  direct_url: string;
  api_key: string;
}

/** How a call went on both sides. */
export interface CallRecord {
  heard: string[];
  understood: string[];
  violations: string[];
  reason: string;
}

export class Stage {
  private constructor(private readonly child: Child<Ready>) {}

  static async start(): Promise<Stage> {
    return new Stage(await Child.start<Ready>("voicebridge-stage"));
  }

  /** The control plane, through the proxy whose connections are cut. */
  get target(): { url: string; apiKey: string } {
    return { url: this.child.ready.control_url, apiKey: this.child.ready.api_key };
  }

  /** Somebody calls. */
  async call(): Promise<string> {
    return (await this.#post<{ call_id: string }>("/call")).call_id;
  }

  /** Resets every connection through the proxy; how many there were. */
  async cut(): Promise<number> {
    return (await this.#post<{ connections: number }>("/cut")).connections;
  }

  restart(by: "kill" | "terminate"): Promise<unknown> {
    return this.#post("/restart", { by });
  }

  hangUp(callId: string): Promise<unknown> {
    return this.#post("/hang-up", { call_id: callId });
  }

  /** Waits for the end of the call. */
  record(callId: string): Promise<CallRecord> {
    return this.#post("/record", { call_id: callId });
  }

  /** What is stored of an ended call: protobuf in base64. */
  async stored(callId: string): Promise<string[]> {
    return (await this.#post<{ events: string[] }>("/events", { call_id: callId })).events;
  }

  stop(): Promise<void> {
    return this.child.stop();
  }

  async #post<Answer>(path: string, body: object = {}): Promise<Answer> {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${this.child.ready.url}${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  }
}
