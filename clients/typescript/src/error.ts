// The one error of this package: a gRPC code, the stable reason if voicebridge itself gave one, and what to do next.

import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

/** The canonical codes of gRPC, by name. */
export type ErrorCode =
  | "CANCELLED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

const NAMES: Record<Code, ErrorCode> = {
  [Code.Canceled]: "CANCELLED",
  [Code.Unknown]: "UNKNOWN",
  [Code.InvalidArgument]: "INVALID_ARGUMENT",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.ResourceExhausted]: "RESOURCE_EXHAUSTED",
  [Code.FailedPrecondition]: "FAILED_PRECONDITION",
  [Code.Aborted]: "ABORTED",
  [Code.OutOfRange]: "OUT_OF_RANGE",
  [Code.Unimplemented]: "UNIMPLEMENTED",
  [Code.Internal]: "INTERNAL",
  [Code.Unavailable]: "UNAVAILABLE",
  [Code.DataLoss]: "DATA_LOSS",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
};

/** What helps when the code is all that is known. With a reason, its page says it better. */
const NEXT_STEPS: Record<ErrorCode, string> = {
  CANCELLED: "Nothing: the caller of this method cancelled it.",
  UNKNOWN: "Look into the control plane's log for this moment, or into what stands between it and you.",
  INVALID_ARGUMENT: "Correct the request: the message and `metadata` name the field.",
  DEADLINE_EXCEEDED: "Try again, or allow more time with `timeoutMs`.",
  NOT_FOUND: "Check the id; records are kept for as long as the control plane's settings say.",
  ALREADY_EXISTS: "Use what exists, or another name.",
  PERMISSION_DENIED: "Use an API key with the scope this method needs.",
  RESOURCE_EXHAUSTED: "Try again later, or allow more in the control plane's settings.",
  FAILED_PRECONDITION: "Look at the call's state first.",
  ABORTED: "Try again.",
  OUT_OF_RANGE: "Correct the request: the message names the value.",
  UNIMPLEMENTED: "Check that `url` is that of a control plane, and its version.",
  INTERNAL: "Look into the control plane's log for this moment.",
  UNAVAILABLE: "Check `url` and that the control plane is running, then try again.",
  DATA_LOSS: "Begin again without a cursor.",
  UNAUTHENTICATED: "Check `apiKey`: it is missing, unknown or expired.",
};

/** `google.rpc.ErrorInfo.domain` of everything voicebridge answers. */
const DOMAIN = "voicebridge.dev";

/** What came with a reason, e.g. `{ rule: "no-fingerprint" }`. */
export type ErrorMetadata = Readonly<Record<string, string>>;

/** A field of a request that breaks a rule. */
export interface FieldViolation {
  /** Its path, e.g. `agent.instructions`. */
  readonly field: string;
  /** What it must be, e.g. `must be at most 32768 bytes`. */
  readonly rule: string;
}

/** What may come with an error besides its code and message. */
interface Details {
  reason?: string;
  metadata?: ErrorMetadata;
  violations?: readonly FieldViolation[];
  retryDelayMs?: number;
}

/** Every method of this package that fails throws this. */
export class VoiceBridgeError extends Error {
  override readonly name = "VoiceBridgeError";
  /** gRPC's code by name. What broke on the way, without an answer of voicebridge, is `UNAVAILABLE`. */
  readonly code: ErrorCode;
  /** Stable, upper-case, one page each under docs/errors, e.g. `CALL_NOT_FOUND`. Empty if the error is not voicebridge's own. */
  readonly reason: string;
  /** For programs; empty if there is nothing. */
  readonly metadata: ErrorMetadata;
  /** The fields of the request that break a rule, with `INVALID_ARGUMENT`. */
  readonly violations: readonly FieldViolation[];
  /** How long to wait at least before asking again; 0 if nothing was said of it. `follow` keeps to it. */
  readonly retryDelayMs: number;

  constructor(code: ErrorCode, message: string, more: Details & { cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.reason = more.reason ?? "";
    this.metadata = more.metadata ?? {};
    this.violations = more.violations ?? [];
    this.retryDelayMs = more.retryDelayMs ?? 0;
  }

  /** What a person can do about it, in a sentence or two. */
  get nextStep(): string {
    const page = this.docs === undefined ? "" : ` See ${this.docs}.`;
    return `${NEXT_STEPS[this.code]}${page}`;
  }

  /** The page about the reason in voicebridge's repository; undefined without a reason. */
  get docs(): string | undefined {
    return this.reason === "" ? undefined : `docs/errors/${this.reason}.md`;
  }

  override toString(): string {
    const reason = this.reason === "" ? "" : ` ${this.reason}`;
    return `${this.name}: ${this.code}${reason}: ${this.message} (${this.nextStep})`;
  }

  /** Whatever was thrown, as one of these. */
  static from(cause: unknown): VoiceBridgeError {
    if (cause instanceof VoiceBridgeError) return cause;
    const error = ConnectError.from(cause);
    const answered = [...error.metadata.keys()].length > 0;
    const details = answered ? detailsOf(error) : {};
    return new VoiceBridgeError(answered ? NAMES[error.code] : broken(error), error.rawMessage || "no message", {
      ...details,
      cause,
    });
  }
}

/**
 * The code of an error without response headers: nothing and nobody answered, or the answer broke off. Connect calls
 * that by many names, among them INVALID_ARGUMENT for half a message, which must not look like a mistake of the user's.
 */
function broken(error: ConnectError): ErrorCode {
  switch (error.code) {
    case Code.Unknown:
    case Code.InvalidArgument:
    case Code.Aborted:
    case Code.Canceled:
      return "UNAVAILABLE";
    default:
      return NAMES[error.code];
  }
}

function detailsOf(error: ConnectError): Details {
  const found: Details = {};
  for (const detail of error.details) {
    if (!("type" in detail)) continue;
    try {
      // Only what was read to its end counts.
      Object.assign(found, READERS[detail.type]?.(detail.value));
    } catch {
      // Details that are no protobuf say nothing; code and message still do.
    }
  }
  return found;
}

/** The messages of google/rpc/error_details.proto that say something here. */
const READERS: Record<string, (bytes: Uint8Array) => Details> = {
  // ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  "google.rpc.ErrorInfo": (bytes) => {
    let [reason, domain] = ["", ""];
    const metadata: Record<string, string> = {};
    read(bytes, {
      1: (reader) => {
        reason = reader.string();
      },
      2: (reader) => {
        domain = reader.string();
      },
      3: (reader) => {
        const [key, value] = pair(reader.bytes());
        metadata[key] = value;
      },
    });
    return domain === DOMAIN ? { reason, metadata } : {};
  },
  // BadRequest { repeated FieldViolation field_violations = 1 { string field = 1; string description = 2; } }
  "google.rpc.BadRequest": (bytes) => {
    const violations: FieldViolation[] = [];
    read(bytes, {
      1: (reader) => {
        const [field, rule] = pair(reader.bytes());
        violations.push({ field, rule });
      },
    });
    return { violations };
  },
  // RetryInfo { google.protobuf.Duration retry_delay = 1 { int64 seconds = 1; int32 nanos = 2; } }
  "google.rpc.RetryInfo": (bytes) => {
    let retryDelayMs = 0;
    const duration: Fields = {
      1: (reader) => {
        retryDelayMs += Number(reader.int64()) * 1000;
      },
      2: (reader) => {
        retryDelayMs += reader.int32() / 1e6;
      },
    };
    read(bytes, { 1: (reader) => read(reader.bytes(), duration) });
    return { retryDelayMs: Math.max(0, retryDelayMs) };
  },
};

/** What is done with a field of this number. */
type Fields = Record<number, (reader: BinaryReader) => void>;

function read(bytes: Uint8Array, fields: Fields): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const known = fields[field];
    if (known === undefined) reader.skip(type, field);
    else known(reader);
  }
}

/** A message of two strings, numbers 1 and 2. */
function pair(bytes: Uint8Array): [first: string, second: string] {
  const found: [string, string] = ["", ""];
  read(bytes, {
    1: (reader) => {
      found[0] = reader.string();
    },
    2: (reader) => {
      found[1] = reader.string();
    },
  });
  return found;
}
