// Settings and log lines, by table.

import assert, { deepEqual as assertEquals, throws } from "node:assert/strict";

import { Log } from "../functions/_shared/log.ts";
import { callSettings, coreSettings, SettingsError } from "../functions/_shared/settings.ts";

const environment = (variables: Record<string, string>) => ({ get: (name: string) => variables[name] });

const CORE = { WHATSAPP_APP_SECRET: "app", WHATSAPP_VERIFY_TOKEN: "word", SUPABASE_URL: "https://x.supabase.co/" };
const CALLS = { WHATSAPP_APP_SECRET: "app", VOICE_BRIDGE_URL: "https://voice.example.com/" };
const SELF = { ...CALLS, VOICE_BRIDGE_MODE: "self", WHATSAPP_ACCESS_TOKEN: "token" };

Deno.test("calls go to the function beside the core by default", () => {
  const { routes } = coreSettings(environment(CORE));
  assertEquals([...routes], [["calls", "https://x.supabase.co/functions/v1/wa-webhook-voice-calls"]]);
  const given = "calls=wa-webhook-voice-calls, messages=https://example.com/in";
  assertEquals(
    coreSettings(environment({ ...CORE, WHATSAPP_WEBHOOK_ROUTES: given })).routes.get("messages"),
    "https://example.com/in",
  );
});

Deno.test("managed mode needs no token of Meta's", () => {
  const settings = callSettings(environment(CALLS));
  assertEquals([settings.mode, settings.graph, settings.database], ["managed", undefined, undefined]);
  assertEquals(settings.bridgeUrl, "https://voice.example.com");
});

Deno.test("defaults", () => {
  const settings = callSettings(
    environment({ ...SELF, SUPABASE_DB_URL: "postgres://u:p@h/d", VOICE_BRIDGE_STALE_S: " " }),
  );
  assertEquals(settings.graph, {
    accessToken: "token",
    phoneNumberId: undefined,
    url: "https://graph.facebook.com/v25.0",
    timeoutMs: 5000,
  });
  assertEquals(settings.database, {
    url: "postgres://u:p@h/d",
    profiles: "public.profiles",
    profileTimeoutMs: 300,
    summaries: "public.call_summaries",
    transcripts: false,
  });
  assertEquals([settings.staleMs, settings.acceptPatienceMs, settings.retryMs], [60_000, 1500, 10_000]);
});

Deno.test("a table may be turned off or named", () => {
  const database = { ...SELF, SUPABASE_DB_URL: "postgres://u:p@h/d" };
  const tables = (variables: Record<string, string>) => {
    const settings = callSettings(environment({ ...database, ...variables })).database;
    return [settings?.profiles, settings?.summaries];
  };
  assertEquals(tables({ VOICE_BRIDGE_PROFILES_TABLE: "off" }), [undefined, "public.call_summaries"]);
  assertEquals(tables({ VOICE_BRIDGE_SUMMARIES_TABLE: "crm.calls" }), ["public.profiles", "crm.calls"]);
});

Deno.test("all mistakes are told at once, by name and without values", () => {
  throws(
    () =>
      callSettings(environment({
        VOICE_BRIDGE_MODE: "self",
        VOICE_BRIDGE_URL: "http://voice.example.com/hush",
        VOICEBRIDGE_CALLBACK_SECRET: "hush",
        VOICE_BRIDGE_SUMMARIES_TABLE: "a;drop table b-hush",
        VOICE_BRIDGE_STALE_S: "0",
        WHATSAPP_PHONE_NUMBER_ID: "x",
        SUPABASE_DB_URL: "mysql://hush",
      })),
    (error) => {
      assert(error instanceof SettingsError);
      for (
        const name of [
          "WHATSAPP_APP_SECRET",
          "WHATSAPP_ACCESS_TOKEN",
          "WHATSAPP_PHONE_NUMBER_ID",
          "VOICE_BRIDGE_URL",
          "VOICEBRIDGE_CALLBACK_SECRET",
          "VOICE_BRIDGE_SUMMARIES_TABLE",
          "VOICE_BRIDGE_STALE_S",
          "SUPABASE_DB_URL",
        ]
      ) assert(error.message.includes(name), `${name} in ${error.message}`);
      assert(!error.message.includes("hush"), error.message);
      return true;
    },
  );
  throws(() => coreSettings(environment({ ...CORE, WHATSAPP_WEBHOOK_ROUTES: "calls" })), SettingsError);
  throws(() => coreSettings(environment({ ...CORE, SUPABASE_URL: "" })), SettingsError);
});

Deno.test("what came with a secret from a file or a shell is named, and never shown", () => {
  const problems = (make: () => unknown): string => {
    try {
      make();
    } catch (error) {
      assert(error instanceof SettingsError);
      return error.message;
    }
    return "";
  };
  const self = { ...SELF, VOICE_BRIDGE_API_KEY: "key" };
  for (const wrong of ['"hush"', "'hush'", "hush\nhush", "hush # mine", "húsh", "\u201chush\u201d", "hush\u0000"]) {
    for (const name of ["WHATSAPP_APP_SECRET", "WHATSAPP_ACCESS_TOKEN", "VOICE_BRIDGE_API_KEY"]) {
      const told = problems(() => callSettings(environment({ ...self, [name]: wrong })));
      assert(told.startsWith(`${name} `), `${name} ${JSON.stringify(wrong)}: ${told}`);
      assert(!told.includes("hush") && !told.includes("húsh"), told);
    }
    for (const name of ["WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN"]) {
      const told = problems(() => coreSettings(environment({ ...CORE, [name]: wrong })));
      assert(told.startsWith(`${name} `), `${name} ${JSON.stringify(wrong)}: ${told}`);
    }
  }
  // Line ends and spaces around a value are a file's, and taken off.
  assertEquals(coreSettings(environment({ ...CORE, WHATSAPP_APP_SECRET: " app\r\n" })).appSecret, "app");
});

Deno.test("lines of the log are JSON, and text of others' is cleaned", () => {
  const lines: string[] = [];
  const log = new Log({ function: "f" }, ["s3cret-token", undefined, ""], (line) => lines.push(line));
  log.with({ callId: "wacid.1" }).info("WA_CALL_CONNECT", { elapsedMs: 3 });
  log.warn("X", log.failure(new TypeError("no s3cret-token for +55 11 90000-0001 at\nport 5432")));
  const [first, second] = lines.map((line) => JSON.parse(line));
  assertEquals([first.level, first.event, first.callId, first.elapsedMs], ["info", "WA_CALL_CONNECT", "wacid.1", 3]);
  assertEquals(second.error, "TypeError: no *** for <number> at port 5432");
  assertEquals(log.clean("x".repeat(1000)).length, 300);
});
