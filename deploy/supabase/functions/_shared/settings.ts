// Settings of both functions, read once. An empty variable counts as unset; all that is wrong is reported at once, by the
// variable's name and never by its value.

export interface Environment {
  get(name: string): string | undefined;
}

/** Everything that is wrong with the variables. */
export class SettingsError extends Error {
  constructor(readonly problems: string[]) {
    super(problems.join("; "));
    this.name = "SettingsError";
  }
}

export type Mode = "managed" | "self";

export interface CoreSettings {
  appSecret: string;
  verifyToken: string;
  /** Where the changes of a webhook field go: a function's URL. */
  routes: Map<string, string>;
}

export interface GraphSettings {
  accessToken: string;
  /** For calls whose webhook names no number. */
  phoneNumberId: string | undefined;
  /** With version, without slash at the end. */
  url: string;
  timeoutMs: number;
}

export interface DatabaseSettings {
  url: string;
  /** None: callers are not looked up. */
  profiles: string | undefined;
  profileTimeoutMs: number;
  /** None: no row is written. */
  summaries: string | undefined;
  /** Whether a row holds what was said, or only how much. */
  transcripts: boolean;
}

export interface CallSettings {
  mode: Mode;
  appSecret: string;
  /** Whose calls are answered, by Meta's id; none: those of every number of the app. */
  phoneNumberId: string | undefined;
  bridgeUrl: string;
  apiKey: string | undefined;
  /** Always in self mode; in managed mode the control plane talks to Graph. */
  graph: GraphSettings | undefined;
  /** `whsec_<base64>`; none: the callback path answers 503. */
  callbackSecret: string | undefined;
  database: DatabaseSettings | undefined;
  staleMs: number;
  acceptPatienceMs: number;
  /** For so long a request to the control plane that got no answer is made again. */
  retryMs: number;
}

const GRAPH_URL = "https://graph.facebook.com/v25.0";
const CALLS_FUNCTION = "wa-webhook-voice-calls";
/** A word after which a table is not used. */
const OFF = "off";
// An unquoted name of PostgreSQL, with a schema or without.
const TABLE = /^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$/;
const NUMBER_ID = /^[0-9]{1,64}$/;

class Reader {
  readonly problems: string[] = [];

  constructor(private readonly environment: Environment) {}

  text(name: string): string | undefined {
    return this.environment.get(name)?.trim() || undefined;
  }

  required(name: string): string {
    const text = this.text(name);
    if (text === undefined) this.problems.push(`${name} is not set`);
    return text ?? "";
  }

  /** As `text`, for what no log may show. Names what came with it from a file or a shell, never the value. */
  secret(name: string): string | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (/^["']|["']$/.test(text)) {
      this.problems.push(`${name} begins or ends with a quote, which is no part of it: write the value without quotes`);
    } else if (/\s/.test(text)) {
      this.problems.push(`${name} has a space or a line end in the middle: set one value, alone, on one line`);
    } else if (!/^[\x21-\x7e]+$/.test(text)) {
      this.problems.push(`${name} holds characters that an HTTP header cannot carry: use visible ASCII`);
    }
    return text;
  }

  requiredSecret(name: string): string {
    const text = this.secret(name);
    if (text === undefined) this.problems.push(`${name} is not set`);
    return text ?? "";
  }

  number(name: string, least: number, most: number, usual: number): number {
    const text = this.text(name);
    if (text === undefined) return usual;
    const number = Number(text);
    if (/^[0-9]+$/.test(text) && number >= least && number <= most) return number;
    this.problems.push(`${name} must be a whole number from ${least} to ${most}`);
    return usual;
  }

  /** `usual` when unset, nothing when turned off. */
  table(name: string, usual: string): string | undefined {
    const text = this.text(name) ?? usual;
    if (text === OFF) return undefined;
    if (!TABLE.test(text)) this.problems.push(`${name} must be a table's name, with its schema or without, or ${OFF}`);
    return text;
  }

  choice<T extends string>(name: string, choices: readonly T[], usual: T): T {
    const text = this.text(name) ?? usual;
    const chosen = choices.find((choice) => choice === text);
    if (chosen === undefined) this.problems.push(`${name} must be ${choices.join(" or ")}`);
    return chosen ?? usual;
  }

  /** Without a slash at the end. In the open, tokens travel over TLS only. */
  url(name: string, text: string): string {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const local = url !== undefined && ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
    if (text !== "" && url?.protocol !== "https:" && !(local && url.protocol === "http:")) {
      this.problems.push(`${name} must be an https URL (http only to this machine)`);
    }
    return text.replace(/\/+$/, "");
  }

  done<T>(settings: T): T {
    if (this.problems.length > 0) throw new SettingsError(this.problems);
    return settings;
  }
}

/** Settings of `wa-webhook-core`. */
export function coreSettings(environment: Environment): CoreSettings {
  const read = new Reader(environment);
  const base = read.text("SUPABASE_URL");
  const given = read.text("WHATSAPP_WEBHOOK_ROUTES") ?? `calls=${CALLS_FUNCTION}`;
  const routes = new Map<string, string>();
  for (const route of given.split(",").map((route) => route.trim()).filter((route) => route !== "")) {
    const [field, target] = [route.slice(0, route.indexOf("=")).trim(), route.slice(route.indexOf("=") + 1).trim()];
    if (!/^[a-z_]+=/.test(route) || target === "") {
      read.problems.push("WHATSAPP_WEBHOOK_ROUTES must read field=function,... with a function's name or URL");
    } else if (target.includes("://")) {
      routes.set(field, read.url("WHATSAPP_WEBHOOK_ROUTES", target));
    } else if (base === undefined) {
      read.problems.push("SUPABASE_URL is not set, which functions named in WHATSAPP_WEBHOOK_ROUTES are found by");
    } else {
      routes.set(field, `${read.url("SUPABASE_URL", base)}/functions/v1/${encodeURIComponent(target)}`);
    }
  }
  return read.done({
    appSecret: read.requiredSecret("WHATSAPP_APP_SECRET"),
    verifyToken: read.requiredSecret("WHATSAPP_VERIFY_TOKEN"),
    routes,
  });
}

/** Settings of `wa-webhook-voice-calls`. */
export function callSettings(environment: Environment): CallSettings {
  const read = new Reader(environment);
  const mode = read.choice("VOICE_BRIDGE_MODE", ["managed", "self"], "managed");
  const callbackSecret = read.text("VOICEBRIDGE_CALLBACK_SECRET");
  if (callbackSecret !== undefined && !/^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(callbackSecret)) {
    read.problems.push("VOICEBRIDGE_CALLBACK_SECRET must read whsec_ and base64");
  }
  const phoneNumberId = read.text("WHATSAPP_PHONE_NUMBER_ID");
  if (phoneNumberId !== undefined && !NUMBER_ID.test(phoneNumberId)) {
    read.problems.push("WHATSAPP_PHONE_NUMBER_ID must be the number's id at Meta, digits only");
  }
  return read.done({
    mode,
    appSecret: read.requiredSecret("WHATSAPP_APP_SECRET"),
    phoneNumberId,
    bridgeUrl: read.url("VOICE_BRIDGE_URL", read.required("VOICE_BRIDGE_URL")),
    apiKey: read.secret("VOICE_BRIDGE_API_KEY"),
    graph: mode === "self" ? graphSettings(read, phoneNumberId) : undefined,
    callbackSecret,
    database: databaseSettings(read),
    staleMs: read.number("VOICE_BRIDGE_STALE_S", 1, 3600, 60) * 1000,
    acceptPatienceMs: read.number("VOICE_BRIDGE_ACCEPT_PATIENCE_MS", 0, 20_000, 1500),
    retryMs: read.number("VOICE_BRIDGE_RETRY_MS", 0, 20_000, 10_000),
  });
}

function graphSettings(read: Reader, phoneNumberId: string | undefined): GraphSettings {
  return {
    accessToken: read.requiredSecret("WHATSAPP_ACCESS_TOKEN"),
    phoneNumberId,
    url: read.url("WHATSAPP_GRAPH_URL", read.text("WHATSAPP_GRAPH_URL") ?? GRAPH_URL),
    timeoutMs: read.number("WHATSAPP_GRAPH_TIMEOUT_MS", 100, 30_000, 5000),
  };
}

function databaseSettings(read: Reader): DatabaseSettings | undefined {
  const url = read.text("SUPABASE_DB_URL");
  const settings = {
    profiles: read.table("VOICE_BRIDGE_PROFILES_TABLE", "public.profiles"),
    profileTimeoutMs: read.number("VOICE_BRIDGE_PROFILE_TIMEOUT_MS", 10, 5000, 300),
    summaries: read.table("VOICE_BRIDGE_SUMMARIES_TABLE", "public.call_summaries"),
    transcripts: read.choice("VOICE_BRIDGE_STORE_TRANSCRIPTS", ["no", "yes"], "no") === "yes",
  };
  if (url === undefined) return undefined;
  if (!/^postgres(ql)?:\/\//.test(url)) read.problems.push("SUPABASE_DB_URL must be a postgres:// URL");
  return { url, ...settings };
}
