// The client for edge functions, browsers, Deno, and whatever else has fetch: gRPC-web.

import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { BaseClient, type ClientOptions } from "./client.ts";
import { certainlyAborted } from "./fetch.ts";

export * from "./exports.ts";

export interface VoiceBridgeOptions extends ClientOptions {
  /** Used in place of the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** A client of a control plane over gRPC-web, by `fetch`. */
export class VoiceBridge extends BaseClient {
  constructor({ fetch = globalThis.fetch, ...options }: VoiceBridgeOptions) {
    super(options, (settings) => createGrpcWebTransport({ ...settings, fetch: certainlyAborted(fetch) }));
  }
}
