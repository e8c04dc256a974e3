// The scenarios of tests/clients, in every runtime.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { expected, type Outcome, type Scenario, scenarios } from "./programs/scenarios.ts";
import { Child } from "./support/child.ts";
import { type Runtime, runtimes } from "./support/runtimes.ts";

const child = await Child.start<{ url: string }>("voicebridge-scenarios");
const all: Record<string, Scenario> = await scenarios(child.ready.url);
const everywhere: Runtime[] = await runtimes();

after(async () => {
  await Promise.all(everywhere.map((runtime) => runtime.stop()));
  await child.stop();
});

for (const runtime of everywhere) {
  describe(`scenarios in ${runtime.name}`, () => {
    let outcomes: Record<string, Outcome | string>;

    before(async () => {
      outcomes = await runtime.run("scenarios", { server: child.ready.url });
    });

    for (const [name, scenario] of Object.entries(all)) {
      it(name, () => assert.deepEqual(outcomes[name], expected(scenario)));
    }
  });
}
