// Real planes, a simulated call with audio, and every runtime: cut off twice in the middle, and exactly what is stored.

import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { EventSchema } from "@voicebridge/client";
import { base64, type Progress } from "./programs/programs.ts";
import { type Runtime, runtimes } from "./support/runtimes.ts";
import { Stage } from "./support/stage.ts";

/** What the far side does at which of the call's transcripts. */
const AT = { cut: 1, restart: 2, hangUp: 3 };

const stage = await Stage.start();
const everywhere: Runtime[] = await runtimes();

after(async () => {
  await Promise.all(everywhere.map((runtime) => runtime.stop()));
  await stage.stop();
});

/** As we encode it, so that bytes can be compared. */
function again(encoded: string): string {
  return base64(toBinary(EventSchema, fromBinary(EventSchema, Uint8Array.from(Buffer.from(encoded, "base64")))));
}

describe("a call", () => {
  for (const [index, runtime] of everywhere.entries()) {
    it(`is followed from start to end in ${runtime.name}, through a cut and a restart`, async () => {
      const callId = await stage.call();
      const disturbed: Promise<unknown>[] = [];
      let transcripts = 0;
      const disturb = ({ kind }: Progress) => {
        if (kind !== "transcript") return;
        transcripts += 1;
        if (transcripts === AT.cut) disturbed.push(stage.cut().then((open) => assert.ok(open > 0, "nothing to cut")));
        if (transcripts === AT.restart) disturbed.push(stage.restart(index % 2 ? "terminate" : "kill"));
        if (transcripts === AT.hangUp) disturbed.push(stage.hangUp(callId));
      };
      const followed = await runtime.run<{ events: string[]; connections: number }>(
        "follow",
        { ...stage.target, callId },
        disturb,
      );
      await Promise.all(disturbed);
      const record = await stage.record(callId);
      assert.equal(disturbed.length, 3);
      assert.ok(followed.connections >= 3, `only ${followed.connections} connections`);
      assert.deepEqual(followed.events, (await stage.stored(callId)).map(again));
      assert.deepEqual(record.violations, []);
      assert.deepEqual(record.understood, ["opening-hours"]);
      assert.ok(record.heard.length >= 2, `the caller heard ${record.heard}`);
      assert.equal(record.reason, "USER_HANGUP");
    });
  }
});

describe("a mistake", () => {
  for (const runtime of everywhere) {
    it(`is one typed error with a next step in ${runtime.name}`, async () => {
      const callId = await stage.call();
      const outcome = await runtime.run("mistakes", { ...stage.target, callId });
      await stage.hangUp(callId);
      await stage.record(callId);
      assert.deepEqual(outcome, {
        wrongKey: "UNAUTHENTICATED UNAUTHENTICATED",
        wrongKeyStream: "UNAUTHENTICATED UNAUTHENTICATED",
        unknownCall: "NOT_FOUND CALL_NOT_FOUND",
        unknownCallStream: "NOT_FOUND CALL_NOT_FOUND",
        longCallId: "INVALID_ARGUMENT INVALID_ARGUMENT",
        longCallIdStream: "INVALID_ARGUMENT INVALID_ARGUMENT",
        foreignCursor: "INVALID_ARGUMENT CURSOR_INVALID",
        cursorOfOneForAll: "INVALID_ARGUMENT CURSOR_INVALID",
        tooLittleTime: "DEADLINE_EXCEEDED",
        cancelled: "CANCELLED",
        noUrl: "INVALID_ARGUMENT",
      });
    });
  }
});
