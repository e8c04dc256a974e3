// The local key: found where the control plane keeps it, shown to this machine only.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { VoiceBridge } from "@voicebridge/client/node";

/** What a client of the URL shows a server that refuses every request. */
async function shown(url: string, apiKey?: string): Promise<string | undefined> {
  seen = undefined;
  const client = new VoiceBridge({ url, apiKey });
  await assert.rejects(client.calls.getCall({ callId: "a" }));
  client.close();
  return seen;
}

let seen: string | undefined;
let port = 0;
let folder = "";
const server = http2.createServer((request, response) => {
  seen = request.headers.authorization;
  response.writeHead(200, { "content-type": "application/grpc", "grpc-status": "5" });
  response.end();
});

async function put(state: string): Promise<void> {
  await mkdir(state, { recursive: true });
  await writeFile(path.join(state, "local-key"), "vb_local_7\n");
}

describe("a client for Node without a key", () => {
  before(async () => {
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    port = (server.address() as AddressInfo).port;
  });
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "voicebridge-state-"));
    process.env["VOICEBRIDGE_STATE_DIR"] = folder;
  });
  after(() => server.close());

  it("shows this machine the local key, and its own key if it has one", async () => {
    const url = `http://127.0.0.1:${port}`;
    assert.equal(await shown(url), undefined, "none was made");
    await put(folder);
    assert.equal(await shown(url), "Bearer vb_local_7");
    assert.equal(await shown(`http://localhost:${port}`), "Bearer vb_local_7");
    assert.equal(await shown(url, ""), "Bearer vb_local_7");
    assert.equal(await shown(url, "key-7"), "Bearer key-7");
    await rm(folder, { recursive: true });
  });

  it("finds it where the control plane keeps it", async () => {
    const url = `http://127.0.0.1:${port}`;
    const { HOME: home, XDG_STATE_HOME: states } = process.env;
    Object.assign(process.env, { VOICEBRIDGE_STATE_DIR: "", HOME: folder, XDG_STATE_HOME: "relative/does/not/count" });
    assert.equal(await shown(url), undefined);
    await put(path.join(folder, ".local/state/voicebridge"));
    assert.equal(await shown(url), "Bearer vb_local_7");
    process.env["XDG_STATE_HOME"] = path.join(folder, "states");
    assert.equal(await shown(url), undefined);
    await put(path.join(folder, "states/voicebridge"));
    assert.equal(await shown(url), "Bearer vb_local_7");
    process.env["HOME"] = home ?? "";
    process.env["XDG_STATE_HOME"] = states ?? "";
    await rm(folder, { recursive: true });
  });
});
