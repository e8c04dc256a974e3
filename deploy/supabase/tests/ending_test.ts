// A call's row when the control plane tells only a part of what it has.

import { deepEqual as assertEquals } from "node:assert/strict";

import { Background } from "../functions/_shared/background.ts";
import { Bridge, TerminationResult } from "../functions/_shared/bridge.ts";
import { database } from "../functions/_shared/database.ts";
import { Log } from "../functions/_shared/log.ts";
import { callSettings } from "../functions/_shared/settings.ts";
import { record } from "../functions/wa-webhook-voice-calls/ending.ts";
import { type Answer, besidePlane, INTERNAL, type Request } from "./plane.ts";
import { Cluster } from "./postgres.ts";

const CALL = {
  callId: "0190c3a1-0000-7000-8000-000000000001",
  phoneNumberId: "106",
  termination: { result: TerminationResult.COMPLETED, reason: "AGENT_HANGUP", message: "It said goodbye." },
  usage: { inputTextTokens: 33n, provider: "openai" },
  quality: { uplink: { mos: 4.25 } },
};
const END = {
  kind: "terminate" as const,
  callId: "wacid.X=",
  phoneNumberId: "106",
  timestamp: undefined,
  failed: false,
  errorCode: undefined,
  startTime: undefined,
  endTime: undefined,
  durationS: undefined,
};

Deno.test({
  name: "what was said cannot be told: the rest of the record is kept, and what was there of it before",
  // The database's process.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const cluster = await Cluster.start();
    const { url: databaseUrl, sql } = await cluster.database("calls");
    let isTold = false;
    const plane = ({ method }: Request): Answer => {
      if (method === "GetCall") return { call: CALL };
      return isTold ? { transcripts: [{ text: "Hello", speaker: 1 }] } : { status: INTERNAL };
    };
    await besidePlane(plane, async (url) => {
      const variables: Record<string, string> = {
        VOICE_BRIDGE_URL: url,
        WHATSAPP_APP_SECRET: "app",
        SUPABASE_DB_URL: databaseUrl,
      };
      const settings = callSettings({ get: (name) => variables[name] });
      const events: string[] = [];
      const log = new Log({}, [], (line) => events.push(JSON.parse(line).event));
      const pool = settings.database && database(settings.database);
      const bridge = new Bridge(url, undefined, 0);
      const context = { settings, bridge, sql: pool, log, background: new Background() };
      const row = async () => {
        await record(END, context, log);
        return (await sql`select * from call_summaries`)[0]!;
      };
      const first = await row();
      assertEquals(events, ["CALL_TRANSCRIPTS_UNAVAILABLE", "CALL_SUMMARY_WRITTEN"]);
      assertEquals([first.result, first.reason, first.mos_uplink], ["completed", "AGENT_HANGUP", 4.25]);
      assertEquals([first.usage.input_text_tokens, first.usage.provider], [33, "openai"]);
      assertEquals([first.transcript_entries, first.transcript_characters], [null, null]);
      isTold = true;
      assertEquals((await row()).transcript_characters, 5);
      isTold = false;
      assertEquals((await row()).transcript_characters, 5);
      await pool?.end();
    });
    await sql.end();
    await cluster.stop();
  },
});
