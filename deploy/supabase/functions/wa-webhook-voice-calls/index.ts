// WhatsApp calls. All of it is in handler.ts; this reads the settings and serves.

import { Background } from "../_shared/background.ts";
import { configured } from "../_shared/http.ts";
import { Log } from "../_shared/log.ts";
import { callSettings } from "../_shared/settings.ts";
import { voiceCalls } from "./handler.ts";

const FUNCTION = { function: "wa-webhook-voice-calls" };
let log = new Log(FUNCTION);

// One call's fault ends that call's work only: without this it would end the function, and with it everybody's.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  log.error("UNHANDLED", log.failure(event.reason));
});

Deno.serve(configured(log, () => {
  const settings = callSettings(Deno.env);
  const password = settings.database && new URL(settings.database.url).password;
  const secrets = [settings.appSecret, settings.apiKey, settings.callbackSecret, settings.graph?.accessToken, password];
  log = new Log(FUNCTION, secrets);
  return voiceCalls(settings, log, new Background());
}));
