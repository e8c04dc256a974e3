// PostgreSQL: one small pool for the life of the function. TLS as the URL says (`sslmode=require`). No statement is
// prepared by name, so that a pooler in transaction mode may stand between. Nothing a call needs waits for it for long, and
// no call depends on it.

import postgres from "postgres";

import type { DatabaseSettings } from "./settings.ts";

export type Database = postgres.Sql;

/** Connections of one instance of the function. */
const POOL = 3;
/** A connection unused this long is closed. */
const IDLE_S = 20;
/** Trying to connect ends after this. */
const CONNECT_S = 2;

/** Connects when first used. */
export function database(settings: DatabaseSettings): Database {
  return postgres(settings.url, {
    max: POOL,
    idle_timeout: IDLE_S,
    connect_timeout: CONNECT_S,
    prepare: false,
    // Answers come without types looked up first: one round trip less on a new connection.
    fetch_types: false,
    connection: { application_name: "voicebridge-edge" },
    onnotice: () => {},
  });
}
