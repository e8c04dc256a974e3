// Meta's webhook envelope -> notices about calls. One delivery may hold many entries, changes and calls; each becomes a
// notice of its own and none stops the others. What is not known is passed over by its name, so that Meta can add to the
// format. Source: Meta, "User-initiated calls" and "Reference" of the WhatsApp Business Calling API.

export interface Caller {
  phoneNumber: string | undefined;
  userId: string | undefined;
  name: string | undefined;
}

/** Somebody calls. */
export interface Connect {
  kind: "connect";
  callId: string;
  phoneNumberId: string | undefined;
  caller: Caller;
  /** Unix seconds at Meta. */
  timestamp: number | undefined;
  sdpOffer: string;
  /** What came along: a stranger's text, cleaned and cut as the control plane does. */
  payloads: Payloads;
}

/** Of the link or button the call was placed by, and of whoever answered it; empty: none. */
export interface Payloads {
  deeplinkPayload: string;
  ctaPayload: string;
  bizOpaqueCallbackData: string;
}

/** Meta's word that a call is over, whoever ended it. */
export interface Terminate {
  kind: "terminate";
  callId: string;
  phoneNumberId: string | undefined;
  timestamp: number | undefined;
  failed: boolean;
  /** Meta's code, e.g. 138021. */
  errorCode: number | undefined;
  /** Unix seconds; only of a call that was picked up. */
  startTime: number | undefined;
  endTime: number | undefined;
  durationS: number | undefined;
}

/** Not for us; `what` names it for the log. */
export interface Ignored {
  kind: "ignored";
  callId: string | undefined;
  what: string;
}

export type Notice = Connect | Terminate | Ignored;

/** The body is no delivery: not JSON, or no object. */
export class MalformedError extends Error {
  override name = "MalformedError";
}

/** Most notices taken from one delivery; Meta batches a few at most. */
export const MAX_NOTICES = 1000;
/** Longest call id, as the control plane has it. */
const MAX_CALL_ID_BYTES = 512;

type Json = { [name: string]: unknown };

function object(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Json : {};
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.map(object) : [];
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Strings of digits by Meta's word; a number is understood too. */
function whole(value: unknown): number | undefined {
  const number = typeof value === "string" && /^\s*[0-9]{1,15}\s*$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

/** Longest name of a person that is kept, as the control plane has it. */
const MAX_NAME = 128;

/**
 * One line as somebody else gave it, without what breaks a row (PostgreSQL's text holds no NUL) or turns a page
 * around: control characters, ends of lines, directional formatting (Unicode Standard Annex 9). Half a surrogate pair, of an
 * emoji that was cut, stands for what cannot be told. What joins letters and emoji stays. Cut at last: what goes takes no
 * place from what stays.
 */
function cleaned(value: unknown, longest: number): string {
  const line = (text(value) ?? "").replace(/\p{Cs}/gu, "\ufffd")
    .replace(/[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu, "").trim();
  return [...line].slice(0, longest).join("");
}

function personName(value: unknown): string | undefined {
  return cleaned(value, MAX_NAME) || undefined;
}

/** Longest text that is passed on of what comes along with a call, as the control plane keeps it. */
const MAX_PAYLOAD = 512;

function payload(value: unknown): string {
  return cleaned(value, MAX_PAYLOAD);
}

/** A name from outside, fit for one log line. */
function name(value: unknown): string {
  // deno-lint-ignore no-control-regex
  return (text(value) ?? "(none)").replace(/[\u0000-\u001f\u007f]/g, "").slice(0, 64);
}

function changes(body: Uint8Array): Json[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new MalformedError("the body is not valid JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new MalformedError("the body is JSON but not an object");
  }
  return list(object(parsed).entry).flatMap((entry) => list(entry.changes));
}

/** The webhook fields a delivery holds changes of, each once. */
export function fields(body: Uint8Array): string[] {
  return [...new Set(changes(body).map((change) => name(change.field)))];
}

/** What a delivery says about calls. */
export function notices(body: Uint8Array): Notice[] {
  const found: Notice[] = [];
  for (const change of changes(body)) {
    // Changes of other fields are another function's.
    if (change.field !== "calls") continue;
    const value = object(change.value);
    found.push(...list(value.calls).map((call) => notice(call, value)));
    for (const status of list(value.statuses)) {
      found.push(ignored(text(status.id), "status of a business-initiated call"));
    }
    if (found.length > MAX_NOTICES) {
      return [...found.slice(0, MAX_NOTICES), ignored(undefined, "rest of an oversized batch")];
    }
  }
  return found;
}

function ignored(callId: string | undefined, what: string): Ignored {
  return { kind: "ignored", callId, what };
}

function notice(call: Json, value: Json): Notice {
  const callId = text(call.id);
  if (callId === undefined || new TextEncoder().encode(callId).length > MAX_CALL_ID_BYTES) {
    return ignored(undefined, "call without a usable id");
  }
  const phoneNumberId = text(object(value.metadata).phone_number_id);
  const timestamp = whole(call.timestamp);
  const session = object(call.session);
  switch (call.event) {
    case "connect":
      // A business-initiated call brings an answer to an offer; none was made here.
      if (text(call.direction)?.toUpperCase() === "BUSINESS_INITIATED") {
        return ignored(callId, "event connect of a business-initiated call");
      }
      if ((text(session.sdp_type) ?? "offer").toLowerCase() !== "offer") {
        return ignored(callId, "event connect without an offer");
      }
      return {
        kind: "connect",
        callId,
        phoneNumberId,
        caller: caller(call, value),
        timestamp,
        sdpOffer: text(session.sdp) ?? "",
        payloads: {
          deeplinkPayload: payload(call.deeplink_payload),
          ctaPayload: payload(call.cta_payload),
          bizOpaqueCallbackData: payload(call.biz_opaque_callback_data),
        },
      };
    case "terminate":
      return {
        kind: "terminate",
        callId,
        phoneNumberId,
        timestamp,
        failed: text(call.status)?.toUpperCase() === "FAILED",
        errorCode: errorCode(call) ?? errorCode(value),
        startTime: whole(call.start_time),
        endTime: whole(call.end_time),
        durationS: whole(call.duration),
      };
    default:
      return ignored(callId, `event ${name(call.event)}`);
  }
}

/** Number and ids may be in the call, in `contacts[]`, or hidden. A contact counts when it is the caller's or the only one. */
function caller(call: Json, value: Json): Caller {
  const [from, userId] = [text(call.from), text(call.from_user_id)];
  const contacts = list(value.contacts);
  const contact =
    contacts.find((contact) =>
      (from !== undefined && contact.wa_id === from) || (userId !== undefined && contact.user_id === userId)
    ) ?? (contacts.length === 1 && list(value.calls).length === 1 ? contacts[0] : undefined) ?? {};
  return {
    phoneNumber: from ?? text(contact.wa_id),
    userId: userId ?? text(contact.user_id),
    name: personName(object(contact.profile).name),
  };
}

function errorCode(holder: Json): number | undefined {
  return list(holder.errors).map((error) => whole(error.code)).find((code) => code !== undefined);
}
