// What an edge function or a page has to load.

import assert from "node:assert/strict";
import path from "node:path";
import { it } from "node:test";
import { pathToFileURL } from "node:url";
import { PACKAGE } from "./support/child.ts";

/** Compressed bytes; `make bench-clients` prints the same figure. */
const LIMIT = 60_000;

const { bundle, sizes } = await import(pathToFileURL(path.join(PACKAGE, "bench/bundle.mjs")).href);

it(`the bundle for the edge has at most ${LIMIT} bytes compressed, and nothing of Node's in it`, async () => {
  const contents: Uint8Array = await bundle();
  const { compressed } = sizes(contents);
  assert.ok(compressed <= LIMIT, `${compressed} bytes`);
  // Small for a reason: an empty file would pass too.
  const text = new TextDecoder().decode(contents);
  assert.match(text, /voicebridge\.control\.v1\.CallService|StreamEvents/);
  assert.doesNotMatch(text, /node:http2/);
});
