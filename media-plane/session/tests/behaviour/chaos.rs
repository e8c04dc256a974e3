//! Anything, in any order, from a seed: whatever happens, nothing leaves before the gates are open, packets are numbered
//! without a gap and never more than 40 ms apart, every session ends once, and nothing follows the end.

use serde_json::json;
use voicebridge_session::{
    Agent, Command, EventKind, Input, ProviderClosed, RtpIn, Session, SignallingMode, Stage, Termination,
    TerminationResult, provider::embedded::Embedded,
};

use crate::harness::{
    DTMF, OPUS, Start, World, audio_delta, audio_done, response_created, response_done, response_failed, server_error,
    session_created, session_updated, speech_started, speech_stopped, text_delta, text_done, tool_call,
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

fn server_event(dice: &mut Dice) -> serde_json::Value {
    let response = format!("R{}", dice.roll(4));
    let item = format!("A{}", dice.roll(6));
    match dice.roll(17) {
        0 => session_created(),
        1 => session_updated(),
        2 | 3 => response_created(&response),
        4 | 5 => audio_delta(&response, &item, 1 + dice.roll(700) as usize),
        6 => text_delta(&response, &item, "some words "),
        7 => audio_done(&response, &item),
        8 => text_done(&response, &item, "some words in the end"),
        9 => response_done(&response, ["completed", "cancelled", "incomplete"][dice.roll(3) as usize]),
        10 => response_failed(&response, "server_error"),
        11 => speech_started(dice.roll(100_000)),
        12 => speech_stopped(dice.roll(100_000)),
        13 => tool_call(&response, ["end_call", "other"][dice.roll(2) as usize]),
        14 => server_error("conversation_already_has_active_response", "busy", Some("vb_response_2")),
        15 => server_error("whatever", "Something", None),
        _ => json!({"type": "unknown.event", "x": dice.roll(9)}),
    }
}

fn happen(world: &mut World, dice: &mut Dice) {
    match dice.roll(100) {
        0..=2 => world.input(Input::Advance(Stage::AnswerDelivered)),
        3..=4 => world.input(Input::Advance(Stage::Accepted)),
        5..=7 => world.input(Input::TransportConnected),
        8..=12 => world.opened(),
        13..=50 => {
            let event = server_event(dice);
            world.server(&event);
        }
        51 => world.input(Input::Command(Command::Say("Hello".into()))),
        52 => world.input(Input::Command(Command::Interrupt)),
        53 => world.input(Input::Command(Command::InjectText("goodbye".into()))),
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

fn check(seed: u64) {
    let mut dice = Dice(seed);
    let mut start = Start {
        agent: Agent::parse("max_duration_s: 120\n").unwrap(),
        mode: if dice.roll(4) == 0 { SignallingMode::Immediate } else { SignallingMode::Staged },
        ..Start::default()
    };
    let immediate = start.mode == SignallingMode::Immediate;
    if dice.roll(3) == 0 {
        start.provider = Box::new(Embedded::new());
    }
    let mut world = World::new(start);
    for _ in 0..dice.roll(200) {
        happen(&mut world, &mut dice);
        let gates_open = world.session.stage() == Some(Stage::Accepted) || immediate;
        assert!(world.ports.rtp.is_empty() || gates_open, "seed {seed}: sent before the gates were open");
    }
    catastrophe(&mut world, &mut dice);
    // Nobody does anything any more: every deadline in turn brings it to its end.
    world.run_ms(300_000);
    world.ending();
    let count = world.ports.events.len();
    happen(&mut world, &mut dice);
    assert_eq!(world.ports.events.len(), count, "seed {seed}: something followed the end");

    for pair in world.ports.rtp.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "seed {seed}");
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(960), "seed {seed}");
        assert!(pair[1].at_ms - pair[0].at_ms <= 40, "seed {seed}: a gap at {} ms", pair[0].at_ms);
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
}

#[test]
fn whatever_happens() {
    (0..80).for_each(check);
}

#[test]
fn a_session_can_be_moved_to_the_thread_that_owns_it() {
    fn is_send<T: Send>() {}
    is_send::<Session>();
}
