// What the parts of this function share.

import type { Background } from "../_shared/background.ts";
import type { Bridge } from "../_shared/bridge.ts";
import type { Database } from "../_shared/database.ts";
import type { Graph } from "../_shared/graph.ts";
import type { Log } from "../_shared/log.ts";
import type { CallSettings } from "../_shared/settings.ts";
import type { Notice } from "../_shared/webhook.ts";

export interface Context {
  settings: CallSettings;
  bridge: Bridge;
  sql: Database | undefined;
  log: Log;
  background: Background;
}

/** Of the style that holds the signalling. */
export interface SelfContext extends Context {
  graph: Graph;
}

/** A delivery about calls, its signature checked. */
export interface Delivery {
  raw: Uint8Array<ArrayBuffer>;
  signature: string;
  notices: Notice[];
  /** Unix milliseconds. */
  receivedAt: number;
}
