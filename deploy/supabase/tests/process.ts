// Child processes: started with the given variables and nothing of ours but PATH and HOME, their lines kept and waited for,
// ended by their handle.

import { TextLineStream } from "./lines.ts";

/** How long a test waits for something that should come at once, on a busy machine. */
export const SOON_MS = 30_000;
/** How long a process may take to end once asked. */
const STOP_MS = 20_000;
/** Lines shown when something went wrong. */
const TAIL = 60;

export interface Start {
  name: string;
  command: string;
  args?: string[];
  env?: Record<string, string>;
  cwd?: string;
  uid?: number;
  gid?: number;
  /** Keep standard input open, for orders. */
  orders?: boolean;
}

interface Waiting {
  matches: (line: string) => boolean;
  found: (line: string) => void;
}

export class Process {
  /** Everything it wrote, both streams, in order of arrival. */
  readonly lines: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #waiting = new Set<Waiting>();
  readonly #reading: Promise<unknown>;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> | undefined;

  constructor(private readonly start: Start) {
    const inherited = Object.fromEntries(
      ["PATH", "HOME", "RUST_LOG", "RUST_BACKTRACE", "DENO_DIR"].flatMap((name) => {
        const value = Deno.env.get(name);
        return value === undefined ? [] : [[name, value]];
      }),
    );
    this.#child = new Deno.Command(start.command, {
      args: start.args ?? [],
      env: { ...inherited, NO_COLOR: "1", ...start.env },
      clearEnv: true,
      cwd: start.cwd,
      uid: start.uid,
      gid: start.gid,
      stdin: start.orders ? "piped" : "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#orders = start.orders ? this.#child.stdin.getWriter() : undefined;
    this.#reading = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)]);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const line of stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream())) {
      this.lines.push(line);
      for (const waiting of this.#waiting) if (waiting.matches(line)) waiting.found(line);
    }
  }

  /** The first line that matches, of those there are and those to come. */
  async line(what: string, matches: (line: string) => boolean, limitMs = SOON_MS): Promise<string> {
    const there = this.lines.find(matches);
    if (there !== undefined) return there;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const waiting: Waiting = { matches, found: () => {} };
    try {
      return await new Promise<string>((resolve, reject) => {
        waiting.found = resolve;
        this.#waiting.add(waiting);
        timer = setTimeout(
          () => reject(new Error(`${this.start.name}: no ${what} in ${limitMs} ms\n${this.tail()}`)),
          limitMs,
        );
        this.#child.status.then(({ code }) =>
          reject(new Error(`${this.start.name} ended with ${code} before ${what}\n${this.tail()}`))
        );
      });
    } finally {
      this.#waiting.delete(waiting);
      clearTimeout(timer);
    }
  }

  async order(line: string): Promise<void> {
    await this.#orders?.write(new TextEncoder().encode(`${line}\n`));
  }

  tail(): string {
    return [`--- ${this.start.name}`, ...this.lines.slice(-TAIL)].join("\n");
  }

  /** Asks, then insists. The exit code. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<number> {
    await this.#orders?.close().catch(() => {});
    const insist = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended by itself.
    }
    const { code } = await this.#child.status;
    clearTimeout(insist);
    await this.#reading;
    return code;
  }
}
