// One row per call that has ended. Written again, it is the same row, and knows no less than before: a second `terminate`,
// or a control plane that answers only one of two times, harms nothing.

import { type Call, Speaker, type Termination, TerminationResult, type Transcript } from "./bridge.ts";
import type { Database } from "./database.ts";
import type { DatabaseSettings, Mode } from "./settings.ts";
import type { Terminate } from "./webhook.ts";

/** A row of `call_summaries`; see the migration for what the columns mean. */
export interface Summary {
  call_id: string;
  phone_number_id: string | null;
  mode: Mode;
  result: string;
  reason: string;
  message: string | null;
  upstream_code: string | null;
  received_at: Date | null;
  accepted_at: Date | null;
  ended_at: Date | null;
  duration_ms: number | null;
  transcript_entries: number | null;
  transcript_characters: number | null;
  transcript: Record<string, string | boolean>[] | null;
  usage: Record<string, number | string> | null;
  mos_uplink: number | null;
  mos_downlink: number | null;
  quality_cause: string | null;
  region: string | null;
}

const RESULTS: Partial<Record<TerminationResult, string>> = {
  [TerminationResult.COMPLETED]: "completed",
  [TerminationResult.ABANDONED]: "abandoned",
  [TerminationResult.REJECTED]: "rejected",
  [TerminationResult.FAILED]: "failed",
};

/** What the control plane has of a call. */
export interface Known {
  call: Call;
  /** `undefined`: it did not say. */
  said: Transcript[] | undefined;
}

/** What the control plane has of the call, and what Meta said at its end. */
export function summarise(mode: Mode, end: Terminate, known: Known | undefined, transcripts: boolean): Summary {
  const meta = byMeta(mode, end);
  if (known === undefined) return meta;
  const { call, said } = known;
  const [acceptedAt, endedAt] = [date(call.acceptedAt), date(call.endedAt)];
  return {
    ...meta,
    ...ending(call.termination, meta),
    phone_number_id: call.phoneNumberId || meta.phone_number_id,
    received_at: date(call.receivedAt),
    accepted_at: acceptedAt,
    ended_at: endedAt ?? meta.ended_at,
    duration_ms: acceptedAt !== null && endedAt !== null ? endedAt.getTime() - acceptedAt.getTime() : null,
    transcript_entries: said?.length ?? null,
    transcript_characters: said?.reduce((sum, entry) => sum + entry.text.length, 0) ?? null,
    transcript: transcripts && said !== undefined
      ? said.map(({ speaker, text, interrupted }) => ({
        speaker: speaker === Speaker.CALLER ? "caller" : "agent",
        text,
        interrupted,
      }))
      : null,
    usage: call.usage === undefined ? null : usage(call.usage),
    mos_uplink: call.quality?.uplink?.mos ?? null,
    mos_downlink: call.quality?.downlink?.mos ?? null,
    quality_cause: call.quality?.cause || null,
    region: call.region || null,
  };
}

/** Of a call the control plane does not know: its end came before its beginning, or nobody could be asked. */
function byMeta(mode: Mode, end: Terminate): Summary {
  const answered = end.startTime !== undefined;
  const failed = end.failed || end.errorCode !== undefined;
  const [result, reason] = failed && (answered || end.errorCode !== undefined)
    ? ["failed", isMediaTimeout(end.errorCode) ? "MEDIA_TIMEOUT" : "META_FAILED"]
    : answered
    ? ["completed", "USER_HANGUP"]
    : ["abandoned", "CALLER_ABANDONED"];
  const seconds = (time: number | undefined) => time === undefined ? null : new Date(time * 1000);
  return {
    call_id: end.callId,
    phone_number_id: end.phoneNumberId ?? null,
    mode,
    result,
    reason,
    message: null,
    upstream_code: end.errorCode?.toString() ?? null,
    received_at: null,
    accepted_at: seconds(end.startTime),
    ended_at: seconds(end.endTime ?? end.timestamp),
    duration_ms: end.durationS === undefined ? null : end.durationS * 1000,
    transcript_entries: null,
    transcript_characters: null,
    transcript: null,
    usage: null,
    mos_uplink: null,
    mos_downlink: null,
    quality_cause: null,
    region: null,
  };
}

function ending(termination: Termination | undefined, meta: Summary): Partial<Summary> {
  const result = termination && RESULTS[termination.result];
  if (termination === undefined || result === undefined) return {};
  return {
    result,
    reason: termination.reason,
    message: termination.message || null,
    upstream_code: termination.upstreamCode || meta.upstream_code,
  };
}

/** The client got, or sent, no audio for too long, or ended without any. */
export function isMediaTimeout(code: number | undefined): boolean {
  return code !== undefined && code >= 138_021 && code <= 138_023;
}

function date(timestamp: { seconds: bigint; nanos: number } | undefined): Date | null {
  return timestamp === undefined
    ? null
    : new Date(Number(timestamp.seconds) * 1000 + Math.floor(timestamp.nanos / 1e6));
}

function usage(counted: NonNullable<Call["usage"]>): Record<string, number | string> {
  return {
    input_text_tokens: Number(counted.inputTextTokens),
    input_audio_tokens: Number(counted.inputAudioTokens),
    cached_text_tokens: Number(counted.cachedTextTokens),
    cached_audio_tokens: Number(counted.cachedAudioTokens),
    output_text_tokens: Number(counted.outputTextTokens),
    output_audio_tokens: Number(counted.outputAudioTokens),
    transcription_tokens: Number(counted.transcriptionTokens),
    transcription_ms: Number(counted.transcriptionMs),
    provider: counted.provider,
    model: counted.model,
    transcription_model: counted.transcriptionModel,
  };
}

/**
 * Writes the row. Where there is one already, what the control plane says stands over what was there, and what Meta alone
 * says only fills in what was missing.
 */
export async function write(
  settings: DatabaseSettings,
  sql: Database,
  summary: Summary,
  source: "control plane" | "meta",
): Promise<void> {
  if (settings.summaries === undefined) return;
  const { transcript, usage } = summary;
  const row = { ...summary, transcript: transcript && sql.json(transcript), usage: usage && sql.json(usage) };
  const table = settings.summaries.split(".").at(-1);
  const columns = Object.keys(row).filter((column) => column !== "call_id");
  const merged = columns.map((column, index) => {
    const [given, known] = [sql`excluded.${sql(column)}`, sql(`${table}.${column}`)];
    const value = source === "meta" ? sql`coalesce(${known}, ${given})` : sql`coalesce(${given}, ${known})`;
    return sql`${index === 0 ? sql`` : sql`, `}${sql(column)} = ${value}`;
  });
  await sql`
    insert into ${sql(settings.summaries)} ${sql(row)}
    on conflict (call_id) do update set ${merged}, updated_at = now()`;
}
