// A caller in headless Chromium: the page offers ordinary WebRTC audio and calls the control plane itself.
//
//   node chromium_caller.mjs --url http://127.0.0.1:3100 --speech utterance.wav --out DIR [--codec PCMA]
//
// Leaves DIR/heard.wav and DIR/report.json. It judges nothing: test_callers.py and test_keys.py do. The browser is Debian's
// (VOICEBRIDGE_CHROMIUM, default /usr/bin/chromium); its microphone plays the WAV.

import { createServer } from "node:http";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const PAGE = path.join(path.dirname(fileURLToPath(import.meta.url)), "chromium");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

// The page needs an origin: getUserMedia and audio worklets want a secure context, which loopback is.
async function serve() {
  const server = createServer(async (request, response) => {
    const name = path.basename(new URL(request.url, "http://127.0.0.1").pathname);
    try {
      const body = await readFile(path.join(PAGE, name));
      response.writeHead(200, { "content-type": TYPES[path.extname(name)] ?? "application/octet-stream" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

// A RIFF header for mono 16-bit PCM.
function wav({ rate, base64 }) {
  const data = Buffer.from(base64, "base64");
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    speech: { type: "string" },
    out: { type: "string" },
    codec: { type: "string", default: "opus" },
  },
});
for (const name of ["url", "speech", "out"]) {
  if (!options[name]) throw new Error(`--${name} is missing`);
}
await mkdir(options.out, { recursive: true });

const server = await serve();
const profile = await mkdtemp(path.join(tmpdir(), "voicebridge-chromium-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.VOICEBRIDGE_CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${path.resolve(options.speech)}%noloop`,
  ],
});
try {
  const page = await context.newPage();
  page.on("console", (message) => console.error(`page: ${message.text()}`));
  page.on("pageerror", (error) => console.error(`page: ${error}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/page.html`);
  await page.waitForFunction(() => window.voicebridge !== undefined);
  let report;
  try {
    report = await page.evaluate(
      ([url, key, callId, codec]) => window.voicebridge.call(url, key, callId, codec),
      [options.url, process.env.VOICEBRIDGE_API_KEY, `chromium-${randomUUID()}`, options.codec],
    );
  } finally {
    await writeFile(path.join(options.out, "heard.wav"), wav(await page.evaluate(() => window.voicebridge.heard())));
  }
  report.browser = context.browser()?.version() ?? "";
  await writeFile(path.join(options.out, "report.json"), `${JSON.stringify(report, null, 2)}\n`);
} finally {
  await context.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
