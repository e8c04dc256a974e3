// Where programs run: in this Node over gRPC and over gRPC-web, in Deno, and in headless Chromium.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { VoiceBridge } from "@voicebridge/client/node";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { type MakeClient, overFetch, PROGRAMS, type ProgramName, type Report } from "../programs/programs.ts";
import { PACKAGE } from "./child.ts";

/** Where the bundles for Deno and the browser are. */
const BUNDLES = path.join(PACKAGE, "build/programs");
const PAGE = "<!doctype html><meta charset=utf-8><title>test</title><script src=/browser.js></script>";

export interface Runtime {
  readonly name: string;
  run<Result>(program: ProgramName, argument: object, report?: Report): Promise<Result>;
  stop(): Promise<void>;
}

/** What build/programs/browser.js puts into a page. */
interface Programs {
  voicebridge(program: string, argument: object): Promise<unknown>;
}

const nothing: Report = () => {};

class Here implements Runtime {
  constructor(
    readonly name: string,
    private readonly make: MakeClient,
  ) {}

  run<Result>(program: ProgramName, argument: object, report: Report = nothing): Promise<Result> {
    const run = PROGRAMS[program] as (...all: unknown[]) => Promise<unknown>;
    return run(this.make, argument, report) as Promise<Result>;
  }

  async stop(): Promise<void> {}
}

class Deno implements Runtime {
  readonly name = "Deno";

  async run<Result>(program: ProgramName, argument: object, report: Report = nothing): Promise<Result> {
    const deno = path.join(PACKAGE, "node_modules/.bin/deno");
    const script = path.join(BUNDLES, "deno.js");
    // No remote modules: all is in node_modules. Of the system it gets the network alone.
    const options = ["run", "--no-remote", "--allow-net=127.0.0.1", script, program, JSON.stringify(argument)];
    const child = spawn(deno, options, { stdio: ["ignore", "pipe", "inherit"], cwd: PACKAGE });
    const exit = once(child, "exit");
    let result: { value: Result } | undefined;
    for await (const line of createInterface(child.stdout)) {
      const told = JSON.parse(line);
      if (told.report) report(told.report);
      else result = { value: told.result };
    }
    const [code] = await exit;
    if (result === undefined) throw new Error(`Deno ended with ${code} and without a result`);
    return result.value;
  }

  async stop(): Promise<void> {}
}

class Chromium implements Runtime {
  readonly name = "Chromium";

  private constructor(
    private readonly server: Server,
    private readonly context: BrowserContext,
    private readonly origin: string,
  ) {}

  static async start(): Promise<Chromium> {
    // An origin of its own, as a page's always is: whatever it asks of the planes is cross-origin.
    const bundle = await readFile(path.join(BUNDLES, "browser.js"));
    const server = createServer((request, response) => {
      const script = request.url === "/browser.js";
      response.writeHead(200, { "content-type": script ? "text/javascript" : "text/html" });
      response.end(script ? bundle : PAGE);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const browser = await chromium.launch({
      executablePath: process.env["VOICEBRIDGE_CHROMIUM"] ?? "/usr/bin/chromium",
      headless: true,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
    });
    const context = await browser.newContext();
    return new Chromium(server, context, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  async run<Result>(program: ProgramName, argument: object, report: Report = nothing): Promise<Result> {
    const page: Page = await this.context.newPage();
    try {
      page.on("pageerror", (error) => console.error(`page: ${error}`));
      await page.exposeFunction("report", report);
      await page.goto(this.origin);
      return (await page.evaluate(([name, argument]) => (globalThis as never as Programs).voicebridge(name, argument), [
        program,
        argument,
      ] as const)) as Result;
    } finally {
      await page.close();
    }
  }

  async stop(): Promise<void> {
    await this.context.browser()?.close();
    this.server.close();
  }
}

/** All of them, started. */
export async function runtimes(): Promise<Runtime[]> {
  const grpc: MakeClient = (options) => new VoiceBridge(options);
  return [
    new Here("Node over gRPC", grpc),
    new Here("Node over gRPC-web", overFetch),
    new Deno(),
    await Chromium.start(),
  ];
}
