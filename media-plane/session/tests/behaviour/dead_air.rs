//! The AI owes an answer and does not give it: a soft sound tells the caller that somebody is there, then the answer is
//! asked for, and what cannot be helped ends with an apology. Each silence of four seconds has its cause among the events.

use voicebridge_audio::Time;
use voicebridge_session::{
    Agent, BargeIn, Command, EventKind, Reversible, Speaker, Watch,
    provider::{
        AudioFormat, Capabilities, Failure, Outbox, Provider, ProviderCommand, ProviderEvent, embedded::Embedded,
    },
};

use crate::harness::{
    Start, World, audio_delta, committed, response_created, response_created_for, response_done, response_failed,
    speech_started, speech_stopped, tool_call, user_words,
};

/// The caller says something for a second and a half; it is in the conversation when this returns.
fn turn(world: &mut World) {
    world.server(&speech_started(0));
    world.caller_speaks_ms(1_000);
    world.caller_is_quiet_ms(500);
    world.server(&speech_stopped(1_500));
    world.server(&committed());
}

fn asked() -> World {
    let mut world = World::active();
    turn(&mut world);
    world
}

fn silences(world: &World) -> Vec<String> {
    let silent = world.incidents().into_iter().filter(|(reason, _)| *reason == "PROVIDER_SILENT");
    silent.map(|(_, code)| code).collect()
}

#[test]
fn a_turn_that_is_never_answered_gets_a_cue_then_an_answer_asked_for_then_an_apology() {
    let mut world = asked();
    let sent = world.ports.rtp.len();
    world.caller_is_quiet_ms(1_480);
    assert_eq!(world.voice_ms(sent), 0);
    world.caller_is_quiet_ms(520);
    let cue_ms = world.voice_ms(sent);
    assert!((100..=400).contains(&cue_ms), "a short sound at 1.5 s: {cue_ms} ms");
    assert!(world.incidents().is_empty() && world.transcripts().is_empty());
    assert!(world.heard(sent).iter().all(|sample| sample.unsigned_abs() < 4_000), "a soft one");

    world.caller_is_quiet_ms(2_000);
    assert_eq!(silences(&world), ["no_response"], "after 4 s");
    assert_eq!(world.requests("response.create").len(), 1, "and the answer is asked for");
    assert!(world.requests("response.cancel").is_empty());

    let sent = world.ports.rtp.len();
    world.caller_is_quiet_ms(5_900);
    let cue_ms = world.voice_ms(sent);
    assert!((100..=400).contains(&cue_ms), "one more: {cue_ms} ms");
    assert!(world.transcripts().is_empty(), "a cue is nobody's words");
    world.caller_is_quiet_ms(200);
    assert_eq!(world.incidents().last().unwrap(), &("PROVIDER_LOST", "no_answer".to_owned()));
    world.caller_is_quiet_ms(8_000);
    assert_eq!(world.ending().1, "PROVIDER_LOST");
    assert_eq!(world.transcripts(), [(Speaker::Agent, "I am sorry, I have to end this call.".into(), false)]);
}

#[test]
fn the_answer_that_was_asked_for_is_heard() {
    let mut world = asked();
    world.caller_is_quiet_ms(4_100);
    let create = (*world.requests("response.create").last().unwrap()).clone();
    let sent = world.ports.rtp.len();
    world.server(&response_created_for("R1", &create));
    world.server(&audio_delta("R1", "A1", 1_000));
    world.finish_reply("R1", "A1", "Yes.");
    world.caller_is_quiet_ms(20_000);
    assert_eq!(silences(&world).len(), 1);
    assert_eq!(world.requests("response.create").len(), 1);
    let voice_ms = world.voice_ms(sent);
    assert!((980..=1_060).contains(&voice_ms), "{voice_ms}");
    assert!(world.session.termination().is_none());
}

#[test]
fn a_reply_that_began_and_is_silent_is_cancelled_first() {
    let mut world = asked();
    world.server(&response_created("R1"));
    let before = world.ports.requests.len();
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world), ["silent_response"]);
    assert_eq!(world.request_kinds(before), ["response.cancel"]);
    world.server(&response_done("R1", "cancelled"));
    assert_eq!(world.request_kinds(before), ["response.cancel", "response.create"]);
    world.caller_is_quiet_ms(6_000);
    assert_eq!(world.incidents().last().unwrap(), &("PROVIDER_LOST", "no_answer".to_owned()));
}

#[test]
fn the_cue_gives_way_to_the_answer_and_to_the_caller() {
    let mut world = asked();
    world.caller_is_quiet_ms(1_560);
    let sent = world.ports.rtp.len();
    world.reply("R1", "A1", "Here I am.", 1_000);
    world.caller_is_quiet_ms(1_040);
    assert_eq!(world.transcripts().last().unwrap().1, "Here I am.", "at once, not after the cue");
    let voice_ms = world.voice_ms(sent);
    assert!((980..=1_060).contains(&voice_ms), "{voice_ms}");

    let mut world = asked();
    world.caller_is_quiet_ms(1_560);
    let (sent, before) = (world.ports.rtp.len(), world.ports.requests.len());
    world.server(&speech_started(2_000));
    world.caller_speaks_ms(3_000);
    assert!(world.voice_ms(sent) <= 40, "nothing under a caller who speaks");
    assert!(world.barge_ins().is_empty() && world.request_kinds(before).is_empty(), "a cue cannot be interrupted");
    assert!(silences(&world).is_empty(), "he waits for nothing while he speaks");
    world.server(&speech_stopped(5_000));
    world.server(&committed());
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world).len(), 1, "then he does");
}

#[test]
fn three_turns_in_a_row_that_nobody_answers_are_three_incidents() {
    let mut world = World::active();
    for _ in 0..3 {
        turn(&mut world);
        world.caller_is_quiet_ms(6_400);
    }
    assert_eq!(silences(&world).len(), 3);
    world.caller_is_quiet_ms(12_000);
    assert_eq!(world.ending().1, "PROVIDER_LOST");
}

#[test]
fn the_connection_is_watched_closely_while_an_answer_is_owed() {
    let mut world = World::active();
    assert!(world.ports.watched.is_empty());
    turn(&mut world);
    assert_eq!(world.ports.watched, [(1_500, Watch::TurnWaiting)]);
    world.caller_is_quiet_ms(700);
    world.reply("R1", "A1", "Yes.", 500);
    assert_eq!(world.ports.watched[1..], [(2_200, Watch::Idle)]);
    world.caller_is_quiet_ms(1_000);
    turn(&mut world);
    world.server(&speech_started(9_000));
    let kinds: Vec<Watch> = world.ports.watched.iter().map(|(_, watch)| *watch).collect();
    assert_eq!(kinds, [Watch::TurnWaiting, Watch::Idle, Watch::TurnWaiting, Watch::Idle]);
}

#[test]
fn tools_have_their_own_time() {
    let mut world = asked();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    world.caller_is_quiet_ms(1_000);
    assert!(world.ports.watched.last().unwrap().1 == Watch::Idle);
    assert!(silences(&world).is_empty());
}

#[test]
fn a_reply_that_failed_is_still_owed() {
    let mut world = asked();
    world.server(&response_created("R1"));
    world.server(&response_failed("R1", "server_error"));
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world).len(), 1);
}

#[test]
fn a_text_given_while_the_ai_speaks_is_waited_for_from_the_end_of_its_words() {
    let mut world = World::active();
    world.reply("R1", "A1", "a long one", 6_000);
    world.command(Command::InjectText("and then?".into()));
    world.caller_is_quiet_ms(9_900);
    assert!(silences(&world).is_empty(), "3.9 s of silence");
    world.caller_is_quiet_ms(300);
    assert_eq!(silences(&world).len(), 1);
}

#[test]
fn in_reversible_barge_in_only_a_turn_that_is_answered_is_waited_for() {
    let agent = Agent { barge_in: BargeIn::Reversible(Reversible::default()), ..Agent::default() };
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.reply("R1", "A1", "one two three four five six", 6_000);
    world.caller_is_quiet_ms(1_000);
    world.caller_speaks_ms(100);
    world.server(&speech_started(1_000));
    world.caller_is_quiet_ms(500);
    world.server(&speech_stopped(1_600));
    world.server(&committed());
    world.server(&user_words("Uh-huh."));
    world.caller_is_quiet_ms(15_000);
    assert!(silences(&world).is_empty() && world.ports.watched.is_empty(), "nobody owes an answer to that");
    turn(&mut world);
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world), ["no_response"]);
    // He asks whether anybody is there while the reply he waits for is silent.
    let create = (*world.requests("response.create").last().unwrap()).clone();
    world.server(&response_created_for("R2", &create));
    turn(&mut world);
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world), ["no_response", "no_response"], "still owed, and what he interrupted is over");
}

#[test]
fn a_greeting_that_does_not_come_is_told_and_then_given_by_a_clip() {
    let mut world = World::ready();
    world.accept();
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world), ["no_response"]);
    assert_eq!(world.requests("response.create").len(), 2, "asked for again once it was not taken up");
    world.caller_is_quiet_ms(5_800);
    assert!(world.transcripts().is_empty());
    world.caller_is_quiet_ms(4_000);
    assert_eq!(world.transcripts(), [(Speaker::Agent, "Hello, how can I help you?".into(), false)]);
    assert!(world.session.termination().is_none(), "the caller may have something to say");
    world.ports.requests.clear();
    world.server(&speech_started(12_000));
    assert!(world.requests("conversation.item.truncate").is_empty(), "the AI knows nothing of our clip");
}

/// An AI that hears the caller and is free not to answer.
struct Silent(Embedded);

impl Provider for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn model(&self) -> &str {
        self.0.model()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { owes_answer: false, ..self.0.capabilities() }
    }

    fn open(&mut self, now: Time, agent: &Agent, format: AudioFormat, out: &mut Outbox<'_>) {
        self.0.open(now, agent, format, out);
    }

    fn audio(&mut self, _now: Time, _pcm: &[i16], _out: &mut Outbox<'_>) {}

    fn command(&mut self, _now: Time, command: ProviderCommand<'_>, out: &mut Outbox<'_>) {
        if let ProviderCommand::InjectText(_) = command {
            out.event(ProviderEvent::SpeechStarted { item: String::new(), audio_ms: 0 });
            out.event(ProviderEvent::SpeechStopped { audio_ms: 0 });
            out.event(ProviderEvent::TurnTaken);
        }
    }

    fn tick(&mut self, _now: Time, _out: &mut Outbox<'_>) {}

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn closed(&self, closed: voicebridge_session::ProviderClosed<'_>) -> Failure {
        self.0.closed(closed)
    }
}

#[test]
fn an_ai_that_owes_no_answer_may_be_silent() {
    let mut world = World::active_with(Start { provider: Box::new(Silent(Embedded::new())), ..Start::default() });
    world.command(Command::InjectText("anything".into()));
    assert!(world.kinds().any(|kind| matches!(kind, EventKind::CallerSpeechStopped { .. })));
    world.caller_speaks_ms(15_000);
    assert!(world.incidents().is_empty() && world.ports.watched.is_empty());
    assert_eq!(world.voice_ms(0), 0);
}
