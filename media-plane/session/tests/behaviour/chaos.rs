//! Anything, in any order, from a seed: whatever happens, nothing leaves before the gates are open, packets are numbered
//! without a gap and never more than 40 ms apart, every session ends once, and nothing follows the end.

use serde_json::json;
use voicebridge_session::{
    Agent, Command, ConnectionId, ConnectionInput, EventKind, Input, ProviderClosed, RtpIn, Session, SignallingMode,
    Stage, Termination, TerminationResult,
    provider::{
        Provider,
        embedded::Embedded,
        openai::{OpenAi, OpenAiSettings},
    },
};

use crate::{
    g711,
    harness::{
        DTMF, OPUS, Start, World, audio_delta, audio_done, committed, g711_delta, response_created, response_done,
        response_failed, server_error, session_created, session_updated, session_updated_with, speech_started,
        speech_stopped, text_delta, text_done, tool_call, user_words,
    },
};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What a seed's call is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kind {
    reversible: bool,
    g711: bool,
    /// Of G.711 to the AI.
    passthrough: bool,
    embedded: bool,
}

impl Kind {
    fn of(dice: &mut Dice) -> Self {
        let (reversible, g711) = (dice.roll(2) == 0, dice.roll(2) == 0);
        Self { reversible, g711, passthrough: g711 && dice.roll(2) == 0, embedded: dice.roll(3) == 0 }
    }

    fn start(self, dice: &mut Dice) -> Start {
        let mut agent = "max_duration_s: 120\n".to_owned();
        if self.reversible {
            agent += "barge_in:\n  type: reversible\n";
        }
        if self.passthrough {
            agent += "g711:\n  passthrough: true\n";
        }
        let mut start = Start {
            agent: Agent::parse(&agent).unwrap(),
            mode: if dice.roll(4) == 0 { SignallingMode::Immediate } else { SignallingMode::Staged },
            ..Start::default()
        };
        if self.g711 {
            start.offer = g711::offer(0, "PCMU/8000");
        }
        if self.embedded {
            start.provider = Box::new(Embedded::new());
        }
        start
    }
}

fn server_event(kind: Kind, dice: &mut Dice) -> serde_json::Value {
    let response = format!("R{}", dice.roll(4));
    let item = format!("A{}", dice.roll(6));
    match dice.roll(20) {
        0 => session_created(),
        1 if kind.passthrough => session_updated_with(&json!({"type": "audio/pcmu"}), &json!({"type": "audio/pcmu"})),
        1 => session_updated(),
        2 | 3 => response_created(&response),
        4 | 5 if kind.passthrough => g711_delta(&response, &item, &vec![0x35; 8 + dice.roll(5_600) as usize]),
        4 | 5 => audio_delta(&response, &item, 1 + dice.roll(700) as usize),
        6 => text_delta(&response, &item, "some words "),
        7 => audio_done(&response, &item),
        8 => text_done(&response, &item, "some words in the end"),
        9 => response_done(&response, ["completed", "cancelled", "incomplete"][dice.roll(3) as usize]),
        10 => response_failed(&response, "server_error"),
        11 => speech_started(dice.roll(100_000)),
        12 => speech_stopped(dice.roll(100_000)),
        13 => tool_call(&response, ["end_call", "other"][dice.roll(2) as usize]),
        14 => server_error("conversation_already_has_active_response", "busy", Some("vb_response_2_1")),
        15 => server_error("whatever", "Something", None),
        16 | 17 => committed(),
        18 => user_words(["", "Bye!", "Wait, please.", "some words"][dice.roll(4) as usize]),
        _ => json!({"type": "unknown.event", "x": dice.roll(9)}),
    }
}

/// Another connection is to take over, or something comes of one.
fn succeed(world: &mut World, kind: Kind, dice: &mut Dice) {
    let id = ConnectionId(1 + dice.roll(3) as u32);
    match dice.roll(5) {
        0 => {
            let embedded: bool = dice.roll(4) == 0;
            let provider: Box<dyn Provider> =
                if embedded { Box::new(Embedded::new()) } else { Box::new(OpenAi::new(OpenAiSettings::default())) };
            let now = world.now();
            let _refused = world.session.open_successor(now, provider, &mut world.ports);
        }
        1 => world.connection_of(id, ConnectionInput::Opened),
        2 => world.connection_of(id, ConnectionInput::Closed(ProviderClosed::Unreachable("no route"))),
        _ => {
            let event = server_event(kind, dice);
            world.server_of(id, &event);
        }
    }
}

fn happen(world: &mut World, kind: Kind, dice: &mut Dice) {
    match dice.roll(106) {
        0..=2 => world.input(Input::Advance(Stage::AnswerDelivered)),
        3..=4 => world.input(Input::Advance(Stage::Accepted)),
        5..=7 => world.input(Input::TransportConnected),
        8..=12 => world.opened(),
        13..=50 => {
            let event = server_event(kind, dice);
            world.server(&event);
        }
        51 => world.command(Command::Say("Hello".into())),
        52 => world.command(Command::Interrupt),
        53 => world.command(Command::InjectText("goodbye".into())),
        54..=56 => {
            let payload: Vec<u8> = (0..dice.roll(60)).map(|_| dice.roll(256) as u8).collect();
            world.input(Input::Rtp(RtpIn {
                payload_type: [OPUS, DTMF, 0, 96][dice.roll(4) as usize],
                sequence: dice.roll(65_536) as u16,
                timestamp: dice.roll(1 << 32) as u32,
                ssrc: dice.roll(2) as u32,
                marker: false,
                payload: &payload,
            }));
        }
        100 => world.caller_presses(dice.roll(16) as u8),
        101 => world.command(Command::SendDtmf("1#".into())),
        102 => world.input(Input::TransportAlive),
        103..=105 => succeed(world, kind, dice),
        57..=90 => world.caller_speaks_ms(20 * dice.roll(20)),
        _ => world.run_ms(dice.roll(3_000)),
    }
}

fn catastrophe(world: &mut World, dice: &mut Dice) {
    match dice.roll(6) {
        0 => world.closed(ProviderClosed::Closed { code: 1006, reason: "" }),
        1 => world.closed(ProviderClosed::Refused { status: 429, body: "{" }),
        2 => world.input(Input::TransportFailed("closed")),
        3 => world.server(&server_error("insufficient_quota", "no", None)),
        4 => world.input(Input::End(Termination {
            result: TerminationResult::Completed,
            reason: "USER_HANGUP".into(),
            message: String::new(),
            upstream_code: String::new(),
        })),
        _ => {}
    }
}

/// What a call was, for the sum over all.
type Was = (Kind, Vec<&'static str>);

fn check(seed: u64) -> Was {
    let mut dice = Dice(seed);
    let kind = Kind::of(&mut dice);
    let start = kind.start(&mut dice);
    let immediate = start.mode == SignallingMode::Immediate;
    // Half of them begin where most of the rest only gets by luck.
    let mut world = if dice.roll(2) == 0 { World::new(start) } else { World::ready_with(start) };
    if dice.roll(2) == 0 {
        world.accept();
    }
    for _ in 0..dice.roll(200) {
        happen(&mut world, kind, &mut dice);
        let gates_open = world.session.stage() == Some(Stage::Accepted) || immediate;
        assert!(world.ports.rtp.is_empty() || gates_open, "seed {seed}: sent before the gates were open");
    }
    catastrophe(&mut world, &mut dice);
    // Nobody does anything any more: every deadline in turn brings it to its end.
    world.run_ms(300_000);
    world.ending();
    let count = world.ports.events.len();
    happen(&mut world, kind, &mut dice);
    assert_eq!(world.ports.events.len(), count, "seed {seed}: something followed the end");

    for pair in world.ports.rtp.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "seed {seed}");
        assert!(pair[1].at_ms - pair[0].at_ms <= 40, "seed {seed}: a gap at {} ms", pair[0].at_ms);
    }
    let audio: Vec<_> = world.ports.rtp.iter().filter(|packet| packet.payload_type != DTMF).collect();
    let units = if kind.g711 { 160 } else { 960 };
    for pair in audio.windows(2) {
        let slots = u32::from(pair[1].sequence.wrapping_sub(pair[0].sequence));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(slots * units), "seed {seed}");
    }
    // What the caller is said to have heard was sent, and no more than was sent.
    let (played_ms, sent_ms) = (world.session.statistics().played_ms, world.ports.rtp.len() as u64 * 20);
    let heard_ms: u64 = world.barge_ins().iter().map(|&(heard_ms, _)| heard_ms).sum();
    assert!(heard_ms <= played_ms && played_ms <= sent_ms, "seed {seed}: {heard_ms} of {played_ms} of {sent_ms} ms");
    assert!(world.barge_ins().iter().all(|(heard_ms, received_ms)| heard_ms <= received_ms), "seed {seed}");
    let transient = world.ports.events.iter().filter(|event| event.kind.is_transient());
    assert!(transient.into_iter().all(|event| event.sequence == 0));
    let milestones = world.kinds().filter(|kind| matches!(kind, EventKind::Milestone(_))).count();
    assert!(milestones <= 3, "seed {seed}");
    (kind, world.kinds().map(name).collect())
}

const fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::DtmfReceived { .. } => "key",
        EventKind::BargedIn { .. } => "interruption",
        EventKind::BargeInReverted { .. } => "reverted",
        EventKind::ProviderReady { .. } => "ready",
        _ => "other",
    }
}

#[test]
fn whatever_happens() {
    let calls: Vec<Was> = (0..80).map(check).collect();
    // A test of everything that happens to leave something out is none of it.
    let some = |what: &str, was: &dyn Fn(&Was) -> bool| {
        assert!(calls.iter().filter(|call| was(call)).count() >= 3, "{what} too seldom");
    };
    some("G.711", &|(kind, events)| kind.g711 && events.contains(&"interruption"));
    some("pass-through", &|(kind, events)| kind.passthrough && !kind.embedded && events.contains(&"interruption"));
    some("reversible barge-in", &|(kind, events)| kind.reversible && events.contains(&"reverted"));
    some("keys", &|(_, events)| events.contains(&"key"));
    some("takeover", &|(_, events)| events.iter().filter(|event| **event == "ready").count() > 1);
}

#[test]
fn a_session_can_be_moved_to_the_thread_that_owns_it() {
    fn is_send<T: Send>() {}
    is_send::<Session>();
}
