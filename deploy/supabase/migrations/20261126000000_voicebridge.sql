-- What the edge functions of voicebridge read and write.
--
-- Both tables hold personal data or may. Row level security is on and there is no policy: only the owner and the service
-- role get at them, nobody through the project's public API. Add policies as you need them.

-- Who calls: told to the AI. Optional, as is every column but the one the caller is found by.
create table if not exists public.profiles (
  -- International digits without a plus sign, as WhatsApp has it.
  phone_number text unique,
  -- WhatsApp's business-scoped user id, e.g. BR.13000000000000001: of callers who hide their number.
  user_id text unique,
  -- {{name}} in the agent's instructions and greeting.
  name text,
  -- BCP 47, e.g. pt-BR; {{language}}, and what the AI expects to hear.
  language text,
  check (phone_number is not null or user_id is not null)
);

alter table public.profiles enable row level security;

-- One row per call that has ended.
create table if not exists public.call_summaries (
  -- Meta's id.
  call_id text primary key,
  -- The business number's id at Meta.
  phone_number_id text,
  -- Who held the signalling: managed (the control plane) or self (the edge function).
  mode text not null check (mode in ('managed', 'self')),
  result text not null check (result in ('completed', 'abandoned', 'rejected', 'failed')),
  -- Stable, e.g. USER_HANGUP; each has a page in voicebridge's docs/errors.
  reason text not null,
  -- One sentence for a person.
  message text,
  -- Meta's or the AI provider's own code, e.g. 138021.
  upstream_code text,
  -- The connect webhook, the answering, the end.
  received_at timestamptz,
  accepted_at timestamptz,
  ended_at timestamptz,
  -- From answering to the end; null when it was not answered.
  duration_ms bigint check (duration_ms >= 0),
  -- How much was said: utterances of both sides, and characters in them.
  transcript_entries integer,
  transcript_characters integer,
  -- What was said, [{speaker, text, interrupted}]; only with VOICE_BRIDGE_STORE_TRANSCRIPTS=yes.
  transcript jsonb,
  -- What the AI provider counted: tokens by kind, milliseconds transcribed; and by whose prices.
  usage jsonb,
  -- Mean opinion score, 1 to 4.5, an estimate: caller to AI, AI to caller.
  mos_uplink real,
  mos_downlink real,
  -- What spoilt the sound most, in words.
  quality_cause text,
  -- Where the media node was.
  region text,
  updated_at timestamptz not null default now()
);

create index if not exists call_summaries_ended_at on public.call_summaries (ended_at desc);

alter table public.call_summaries enable row level security;
