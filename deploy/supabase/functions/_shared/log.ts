// One JSON object a line on standard output: what happened, to which call, how many milliseconds after its webhook came.
//
// Fields are words and numbers this code chose. Free text of somebody else's (an error's message, Meta's details) goes
// through `clean`, which takes out long runs of digits and the settings' secrets; numbers of callers, SDP and tokens are
// no fields of anything here.

export type Level = "info" | "warn" | "error";
export type Fields = Record<string, string | number | boolean | undefined>;

/** Longest text of somebody else's in a line, characters. */
const LONGEST = 300;
/** Digits in a row that may be a phone number. */
const LONG_NUMBER = /\+?\d[\d ()-]{5,}\d/g;

export class Log {
  #secrets: string[];

  constructor(
    private readonly base: Fields,
    secrets: (string | undefined)[] = [],
    private readonly write: (line: string) => void = (line) => console.log(line),
  ) {
    this.#secrets = secrets.filter((secret): secret is string => secret !== undefined && secret.length >= 4);
  }

  /** The same, with more on every line. */
  with(fields: Fields): Log {
    return new Log({ ...this.base, ...fields }, this.#secrets, this.write);
  }

  info(event: string, fields: Fields = {}): void {
    this.#line("info", event, fields);
  }

  /** Something went wrong and was dealt with. */
  warn(event: string, fields: Fields = {}): void {
    this.#line("warn", event, fields);
  }

  /** A person must act. */
  error(event: string, fields: Fields = {}): void {
    this.#line("error", event, fields);
  }

  /** Text of somebody else's, fit for a line. */
  clean(text: string): string {
    let cleaned = text.slice(0, 4 * LONGEST);
    for (const secret of this.#secrets) cleaned = cleaned.replaceAll(secret, "***");
    return cleaned.replace(LONG_NUMBER, "<number>").replace(/\s+/g, " ").slice(0, LONGEST);
  }

  /** What an error says, fit for a line: its class and code, and its words cleaned. */
  failure(error: unknown): Fields {
    if (!(error instanceof Error)) return { error: this.clean(String(error)) };
    const code = (error as { code?: unknown }).code;
    return {
      error: this.clean(`${error.name}: ${error.message}`),
      errorCode: typeof code === "string" || typeof code === "number" ? code : undefined,
    };
  }

  #line(level: Level, event: string, fields: Fields): void {
    this.write(JSON.stringify({ time: new Date().toISOString(), level, event, ...this.base, ...fields }));
  }
}

/** Milliseconds since `began`, whole. */
export function since(began: number): number {
  return Math.max(0, Math.round(Date.now() - began));
}
