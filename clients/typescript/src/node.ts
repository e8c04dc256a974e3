// The client for Node: gRPC over HTTP/2, many streams on one connection.

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { BaseClient, type ClientOptions } from "./client.ts";
import { isThisMachine, localKey } from "./local.ts";

export * from "./exports.ts";

/** A connection without any answer for so long is asked for a sign of life; one that gives none in 15 s is dropped. */
const PING_INTERVAL_MS = 20_000;

/** A client of a control plane over gRPC. Without a key it shows one on this machine the local key of its user. */
export class VoiceBridge extends BaseClient {
  readonly #session: Http2SessionManager;

  constructor(options: ClientOptions) {
    let session: Http2SessionManager | undefined;
    const apiKey = options.apiKey || (isThisMachine(options.url) ? localKey : undefined);
    super({ ...options, apiKey }, (settings) => {
      session = new Http2SessionManager(settings.baseUrl, { pingIntervalMs: PING_INTERVAL_MS });
      return createGrpcTransport({ ...settings, sessionManager: session });
    });
    this.#session = session as Http2SessionManager;
  }

  /** Closes the connection; what still runs over it ends with `UNAVAILABLE`. An idle one does not keep Node running. */
  close(): void {
    this.#session.abort();
  }
}
