/// <reference types="node" />
// The local key: what a control plane without a configured key wants, and keeps in a file of its user's own.

import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** Where it is: see docs/access.md, "Without any key". */
function file(): string {
  const { VOICEBRIDGE_STATE_DIR: folder = "", XDG_STATE_HOME: states = "" } = process.env;
  if (folder.trim()) return join(folder.trim(), "local-key");
  return join(isAbsolute(states) ? states : join(homedir(), ".local/state"), "voicebridge", "local-key");
}

/** Whether a URL is this machine's; no other is ever shown the key. */
export function isThisMachine(url: string): boolean {
  const host = URL.canParse(url) ? new URL(url).hostname : "";
  return host === "localhost" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}

/** The key, or nothing if none was made. Read each time: a control plane makes it when it first starts. */
export async function localKey(): Promise<string> {
  try {
    return (await readFile(file(), "utf8")).trim();
  } catch (problem) {
    if ((problem as { code?: string }).code === "ENOENT") return "";
    throw problem;
  }
}
