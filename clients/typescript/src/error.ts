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
const DOMAIN = "voicebridge";
const ERROR_INFO = "google.rpc.ErrorInfo";

/** What came with a reason, e.g. `{ rule: "no-fingerprint" }`. */
export type ErrorMetadata = Readonly<Record<string, string>>;

/** Every method of this package that fails throws this. */
export class VoiceBridgeError extends Error {
  override readonly name = "VoiceBridgeError";
  /** gRPC's code by name. What broke on the way, without an answer of voicebridge, is `UNAVAILABLE`. */
  readonly code: ErrorCode;
  /** Stable, upper-case, one page each under docs/errors, e.g. `CALL_NOT_FOUND`. Empty if the error is not voicebridge's own. */
  readonly reason: string;
  /** For programs; empty if there is nothing. */
  readonly metadata: ErrorMetadata;

  constructor(
    code: ErrorCode,
    message: string,
    more: { reason?: string; metadata?: ErrorMetadata; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.reason = more.reason ?? "";
    this.metadata = more.metadata ?? {};
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
    const info = answered ? errorInfo(error) : undefined;
    return new VoiceBridgeError(answered ? NAMES[error.code] : broken(error), error.rawMessage || "no message", {
      ...info,
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

function errorInfo(error: ConnectError): { reason: string; metadata: ErrorMetadata } | undefined {
  for (const detail of error.details) {
    if (!("type" in detail) || detail.type !== ERROR_INFO) continue;
    const info = parse(detail.value);
    if (info !== undefined && info.domain === DOMAIN) return info;
  }
  return undefined;
}

/** google.rpc.ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; } */
function parse(bytes: Uint8Array): { reason: string; domain: string; metadata: ErrorMetadata } | undefined {
  const info = { reason: "", domain: "", metadata: {} as Record<string, string> };
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (field === 1) info.reason = reader.string();
      else if (field === 2) info.domain = reader.string();
      else if (field === 3) {
        const [key, value] = entry(reader.bytes());
        info.metadata[key] = value;
      } else reader.skip(type, field);
    }
  } catch {
    // Details that are no protobuf say nothing; code and message still do.
    return undefined;
  }
  return info;
}

function entry(bytes: Uint8Array): [key: string, value: string] {
  const pair: [string, string] = ["", ""];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) pair[0] = reader.string();
    else if (field === 2) pair[1] = reader.string();
    else reader.skip(type, field);
  }
  return pair;
}
