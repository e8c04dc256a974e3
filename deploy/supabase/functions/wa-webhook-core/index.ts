// Meta's webhook address. All of it is in handler.ts; this reads the settings and serves.

import { configured } from "../_shared/http.ts";
import { Log } from "../_shared/log.ts";
import { coreSettings } from "../_shared/settings.ts";
import { core } from "./handler.ts";

const log = new Log({ function: "wa-webhook-core" });

Deno.serve(configured(log, () => core(coreSettings(Deno.env), log)));
