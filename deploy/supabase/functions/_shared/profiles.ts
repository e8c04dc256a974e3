// Who calls, from the table `profiles`, if there is one: fills the agent's variables and language. A call never waits for
// it longer than the limit and never fails by it.

import { within } from "./background.ts";
import type { Database } from "./database.ts";
import { type Log, since } from "./log.ts";
import type { DatabaseSettings } from "./settings.ts";
import type { Caller } from "./webhook.ts";

export interface Profile {
  name: string | undefined;
  language: string | undefined;
}

/** Longest name the AI is told, characters; the contract allows 1024 bytes. */
const MAX_NAME = 200;
// BCP 47, as the agent file takes it.
const LANGUAGE = /^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/;

/** The caller's profile; `undefined` when there is none, or none in time. */
export async function lookUp(
  settings: DatabaseSettings | undefined,
  sql: Database | undefined,
  caller: Caller,
  log: Log,
): Promise<Profile | undefined> {
  if (settings?.profiles === undefined || sql === undefined) return undefined;
  if (caller.phoneNumber === undefined && caller.userId === undefined) return undefined;
  const began = Date.now();
  const table = sql(settings.profiles);
  const asked = sql<{ name: unknown; language: unknown }[]>`
    select name, language from ${table}
    where phone_number = ${caller.phoneNumber ?? null} or user_id = ${caller.userId ?? null}
    limit 1`;
  // A failure after the limit has nobody waiting for it.
  const found = asked.then((rows) => ({ row: rows[0] }), (error: unknown) => ({ error }));
  const outcome = await within(settings.profileTimeoutMs, found);
  if (outcome === undefined) {
    log.warn("PROFILE_LATE", { limitMs: settings.profileTimeoutMs });
    asked.cancel();
  } else if ("error" in outcome) {
    log.warn("PROFILE_UNAVAILABLE", { tookMs: since(began), ...log.failure(outcome.error) });
  } else {
    log.info("PROFILE_LOOKED_UP", { found: outcome.row !== undefined, tookMs: since(began) });
    if (outcome.row !== undefined) return { name: name(outcome.row.name), language: language(outcome.row.language) };
  }
  return undefined;
}

/** One line, for it stands in the model's instructions. */
function name(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  return value.replace(/\p{C}+/gu, " ").trim().slice(0, MAX_NAME) || undefined;
}

function language(value: unknown): string | undefined {
  return typeof value === "string" && LANGUAGE.test(value) ? value : undefined;
}
