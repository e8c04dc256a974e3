// A program in Deno: `deno run deno.js NAME ARGUMENTS`. One line of JSON for each report, then one for the result.

import { overFetch, PROGRAMS, type ProgramName } from "./programs.ts";

declare const Deno: { args: string[] };

const [name, argument] = Deno.args as [ProgramName, string];
const tell = (line: object) => console.log(JSON.stringify(line));
const program = PROGRAMS[name] as (...all: unknown[]) => Promise<unknown>;
tell({ result: await program(overFetch, JSON.parse(argument), (report: unknown) => tell({ report })) });
