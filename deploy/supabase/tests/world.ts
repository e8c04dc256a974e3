// One scenario's whole system: simulators, control plane, media node, PostgreSQL, and both functions in Deno as they are
// deployed. All on ports of the operating system's choice.

import type postgres from "postgres";

import type { Mode } from "../functions/_shared/settings.ts";
import { binary } from "./binaries.ts";
import { Gate } from "./gate.ts";
import { Cluster } from "./postgres.ts";
import { Process } from "./process.ts";
import { Simulator } from "./simulator.ts";

export const API_KEY = "key7f41of-the-edge";
const NODE_TOKEN = "node7f42token";
const PROVIDER_KEY = "sk-7f43provider";
export const CALLBACK_SECRET = `whsec_${btoa("callback-secret-7f44-of-the-test")}`;
const DATABASE_PASSWORD = "secret-7f36";

/** Slices of the media ports below the ephemeral range; a node takes the next port when one is taken. */
const [UDP_FIRST, UDP_SLICE, UDP_SLICES] = [20_000, 60, 160];

const CALLS = "wa-webhook-voice-calls";

export interface Setup {
  mode: Mode;
  /** The AI turns every session down with this HTTP status. */
  refuseAi?: number;
  /** More variables for the functions. */
  functions?: Record<string, string>;
  /** The agent file of the node. */
  agent?: string;
  /** More variables for the node. */
  node?: Record<string, string>;
}

export interface LogLine {
  level: string;
  event: string;
  callId?: string;
  elapsedMs?: number;
  [field: string]: unknown;
}

let worlds = 0;

export class World {
  private constructor(
    readonly setup: Setup,
    readonly simulator: Simulator,
    readonly control: Process,
    readonly node: Process,
    readonly calls: Process,
    readonly core: Process,
    readonly coreUrl: string,
    readonly callsUrl: string,
    /** To the control plane. */
    readonly bridge: Gate,
    /** From the control plane to the function. */
    readonly callback: Gate,
    readonly cluster: Cluster,
    readonly sql: postgres.Sql,
    readonly folder: string,
    private readonly behind: Deno.ConnectOptions,
    private readonly variables: Record<string, string>,
  ) {}

  static async start(setup: Setup): Promise<World> {
    const index = worlds++;
    const folder = await Deno.makeTempDir({ prefix: "voicebridge-edge-" });
    const [simulator, cluster] = await Promise.all([
      Simulator.start(setup.refuseAi === undefined ? [] : ["--refuse-ai", String(setup.refuseAi)]),
      Cluster.start(),
    ]);
    const { url: databaseUrl, sql } = await cluster.database("calls");
    const [bridge, callback] = [new Gate(), new Gate()];
    const meta = simulator.introduction;
    const whatsapp = {
      WHATSAPP_ACCESS_TOKEN: meta.accessToken,
      WHATSAPP_PHONE_NUMBER_ID: meta.phoneNumberId,
      WHATSAPP_APP_SECRET: meta.appSecret,
      WHATSAPP_VERIFY_TOKEN: meta.verifyToken,
      WHATSAPP_GRAPH_URL: meta.graphUrl,
    };

    const control = new Process({
      name: "control",
      command: binary("voicebridge-control"),
      cwd: folder,
      env: {
        VOICEBRIDGE_LISTEN: "127.0.0.1:0",
        VOICEBRIDGE_API_KEYS: API_KEY,
        VOICEBRIDGE_NODE_TOKEN: NODE_TOKEN,
        VOICEBRIDGE_LOG_FORMAT: "json",
        DATABASE_URL: `sqlite://${folder}/calls.db`,
        ...(setup.mode === "managed" ? whatsapp : {
          VOICEBRIDGE_CALLBACK_URL: `http://127.0.0.1:${callback.port}/callback`,
          VOICEBRIDGE_CALLBACK_SECRET: CALLBACK_SECRET,
        }),
      },
    });
    const serves = await control.line("address", (line) => line.includes("control plane serves"));
    const controlPort = portIn(serves);
    const behind = { hostname: "127.0.0.1", port: controlPort };
    bridge.lead(behind);
    const slice = (Deno.pid + index) % UDP_SLICES;
    if (setup.agent !== undefined) await Deno.writeTextFile(`${folder}/agent.yaml`, setup.agent);
    const node = new Process({
      name: "media",
      command: binary("voicebridge-media"),
      cwd: folder,
      env: {
        VOICEBRIDGE_MEDIA_LISTEN: "127.0.0.1:0",
        VOICEBRIDGE_CONTROL_URL: `http://127.0.0.1:${controlPort}`,
        VOICEBRIDGE_PUBLIC_IP: "127.0.0.1",
        VOICEBRIDGE_UDP_PORTS: `${UDP_FIRST + slice * UDP_SLICE}-${UDP_FIRST + (slice + 1) * UDP_SLICE - 1}`,
        VOICEBRIDGE_NODE_TOKEN: NODE_TOKEN,
        OPENAI_API_KEY: PROVIDER_KEY,
        OPENAI_REALTIME_URL: meta.aiUrl,
        ...(setup.agent === undefined ? {} : { VOICEBRIDGE_AGENT: `${folder}/agent.yaml` }),
        ...setup.node,
      },
    });
    await node.line("registration", (line) => line.includes("registered with the control plane"));

    const variables = {
      VOICE_BRIDGE_MODE: setup.mode,
      VOICE_BRIDGE_URL: `http://127.0.0.1:${bridge.port}`,
      VOICE_BRIDGE_API_KEY: API_KEY,
      VOICEBRIDGE_CALLBACK_SECRET: CALLBACK_SECRET,
      SUPABASE_DB_URL: databaseUrl,
      ...whatsapp,
      ...setup.functions,
    };
    const calls = startFunction(CALLS, variables);
    const callsUrl = await listening(calls);
    callback.lead({ hostname: "127.0.0.1", port: Number(new URL(callsUrl).port) });
    const core = startFunction("wa-webhook-core", {
      WHATSAPP_APP_SECRET: meta.appSecret,
      WHATSAPP_VERIFY_TOKEN: meta.verifyToken,
      WHATSAPP_WEBHOOK_ROUTES: `calls=${callsUrl}`,
    });
    const coreUrl = await listening(core);
    await simulator.webhooksGoTo(coreUrl);
    return new World(
      setup,
      simulator,
      control,
      node,
      calls,
      core,
      coreUrl,
      callsUrl,
      bridge,
      callback,
      cluster,
      sql,
      folder,
      behind,
      variables,
    );
  }

  /** Another instance of the function for calls, as Supabase starts when it likes. */
  async anotherInstance(): Promise<{ process: Process; url: string }> {
    const process = startFunction(CALLS, this.variables);
    return { process, url: await listening(process) };
  }

  /** Undoes the shutting of the gate to the control plane. */
  openBridge(): void {
    this.bridge.lead(this.behind);
  }

  /** The line the function for calls logs about this call. */
  async logged(event: string, callId?: string): Promise<LogLine> {
    const matches = (line: string) => {
      const read = parse(line);
      return read?.event === event && (callId === undefined || read.callId === callId);
    };
    return parse(await this.calls.line(`${event} of ${callId ?? "any call"}`, matches)) as LogLine;
  }

  /** Events logged about a call, in order. */
  events(callId: string): string[] {
    return this.calls.lines.map(parse).filter((line) => line?.callId === callId).map((line) => line?.event ?? "");
  }

  /** The row of a call, once it is written. */
  async row(callId: string): Promise<Record<string, unknown>> {
    await this.logged("CALL_SUMMARY_WRITTEN", callId);
    const rows = await this.sql`select * from call_summaries where call_id = ${callId}`;
    if (rows.length !== 1) throw new Error(`${rows.length} rows for ${callId}`);
    return rows[0] as Record<string, unknown>;
  }

  /** Ends every process, and checks what must be true of every scenario: no secret, SDP or number is in a log. */
  async stop(): Promise<void> {
    await this.core.stop();
    await this.calls.stop();
    await this.sql.end();
    await this.node.stop();
    await this.control.stop();
    await this.simulator.stop();
    await this.cluster.stop();
    this.bridge.stop();
    this.callback.stop();
    await Deno.remove(this.folder, { recursive: true });
    const { accessToken, appSecret, verifyToken } = this.simulator.introduction;
    const never = [
      accessToken,
      appSecret,
      verifyToken,
      API_KEY,
      CALLBACK_SECRET,
      DATABASE_PASSWORD,
      "v=0",
      "a=ice-pwd",
    ];
    for (const process of [this.core, this.calls]) {
      for (const line of process.lines) {
        const found = never.find((text) => line.includes(text)) ?? /\b55119\d{6,}/.exec(line)?.[0];
        if (found !== undefined) throw new Error(`${found} is in a function's log: ${line}`);
      }
    }
  }
}

/** As Supabase runs it: the entry file of an installed copy, with the variables. */
export function startFunction(name: string, env: Record<string, string>): Process {
  const installed = Deno.env.get("EDGE_FUNCTIONS");
  if (installed === undefined) throw new Error("EDGE_FUNCTIONS names no installed copy: use deploy/supabase/test");
  const may = ["--allow-net", "--allow-env", "--allow-read", "--allow-sys"];
  return new Process({
    name,
    command: Deno.execPath(),
    args: ["run", "--no-prompt", "--no-lock", ...may, `${installed}/${name}/index.ts`],
    cwd: `${installed}/${name}`,
    env: { DENO_SERVE_ADDRESS: "tcp:127.0.0.1:0", ...env },
  });
}

export async function listening(process: Process): Promise<string> {
  const line = await process.line("address", (line) => line.startsWith("Listening on "));
  return `http://127.0.0.1:${portIn(line)}`;
}

function portIn(line: string): number {
  const port = /127\.0\.0\.1:(\d+)/.exec(line)?.[1];
  if (port === undefined) throw new Error(`no address in ${line}`);
  return Number(port);
}

function parse(line: string): LogLine | undefined {
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}
