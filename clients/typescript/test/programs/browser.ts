// Programs in a page: `voicebridge(NAME, ARGUMENTS)`, reports through the function `report` that the test has put there.

import { overFetch, PROGRAMS, type ProgramName } from "./programs.ts";

declare const report: (report: unknown) => void;

const run = (name: ProgramName, argument: unknown) =>
  (PROGRAMS[name] as (...all: unknown[]) => Promise<unknown>)(overFetch, argument, (progress: unknown) =>
    report(progress),
  );

Object.assign(globalThis, { voicebridge: run });
