// How large the client is in an edge function or a page: all of `@voicebridge/client`, minified and compressed. Prints one
// line of JSON: {"bytes", "compressed"}. Wants dist (`npm run build`).

import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** The package's main entry as one minified file. */
export async function bundle() {
  const { outputFiles } = await build({
    stdin: { contents: 'export * from "@voicebridge/client";', resolveDir: import.meta.dirname },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
  });
  return outputFiles[0].contents;
}

/** Bytes, and bytes as servers send them. */
export function sizes(contents) {
  return { bytes: contents.length, compressed: gzipSync(contents, { level: 9 }).length };
}

if (process.argv[1] === import.meta.filename) console.log(JSON.stringify(sizes(await bundle())));
