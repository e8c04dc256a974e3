// Programs of the workspace as children: they say where they are in one line of JSON, and end when their input does.

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** The folder of the package, from build/test where the tests run. */
export const PACKAGE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const REPOSITORY = path.resolve(PACKAGE, "../..");
/** How long a child may take to end once its input has. */
const END_MS = 40_000;

export class Child<Ready> {
  readonly ready: Ready;
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, ready: Ready) {
    this.#process = child;
    this.ready = ready;
  }

  static async start<Ready>(name: string, options: string[] = []): Promise<Child<Ready>> {
    const folder = process.env["CARGO_TARGET_DIR"] ?? path.join(REPOSITORY, "target");
    const binary = path.join(folder, process.env["PROFILE"] ?? "debug", name);
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run \`cargo build --workspace --bins\` first`);
    const child = spawn(binary, options, { stdio: ["pipe", "pipe", "inherit"] });
    for await (const line of createInterface(child.stdout)) return new Child(child, JSON.parse(line) as Ready);
    const [code] = await once(child, "exit");
    throw new Error(`${name} ended at its start with ${code}`);
  }

  /** Ends its input and waits; throws unless it ends in order. */
  async stop(): Promise<void> {
    if (this.#process.exitCode === null) {
      const ended = once(this.#process, "exit", { signal: AbortSignal.timeout(END_MS) });
      this.#process.stdin.end();
      await ended.catch((error) => {
        this.#process.kill("SIGKILL");
        throw error;
      });
    }
    if (this.#process.exitCode !== 0) throw new Error(`a child ended with ${this.#process.exitCode}`);
  }
}
