//! The caller makes a sound while the AI speaks: the reply pauses, and whether it is over is decided by what follows.

use voicebridge_audio::FRAME_SAMPLES;
use voicebridge_session::{Agent, BargeIn, Command, EventKind, Reversible, Speaker};

use crate::harness::{
    Start, World, audio_delta, committed, response_created, response_created_for, response_done, speech_started,
    speech_stopped, text_delta, tool_call, user_words,
};

const WORDS: &str = "one two three four five six seven eight";

fn agent(hold: Reversible) -> Agent {
    Agent { barge_in: BargeIn::Reversible(hold), ..Agent::default() }
}

/// A reply of four seconds, a second of which was played; its generation goes on. The caller has been quiet.
fn speaking() -> World {
    speaking_for(1_000)
}

fn speaking_for(ms: u64) -> World {
    let mut world = World::active_with(Start { agent: agent(Reversible::default()), ..Start::default() });
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 4_000));
    world.server(&text_delta("R1", "A1", WORDS));
    world.caller_is_quiet_ms(ms);
    world
}

/// `(heard_ms, held_ms)` of each pause that was none.
fn reverted(world: &World) -> Vec<(u64, u32)> {
    world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::BargeInReverted { heard_ms, held_ms, .. } => Some((*heard_ms, *held_ms)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_provider_neither_interrupts_nor_answers() {
    let world = speaking();
    let detection = &world.requests("session.update")[0]["session"]["audio"]["input"]["turn_detection"];
    assert_eq!((&detection["interrupt_response"], &detection["create_response"]), (&false.into(), &false.into()));
    let plain = World::active();
    let detection = &plain.requests("session.update")[0]["session"]["audio"]["input"]["turn_detection"];
    assert_eq!((&detection["interrupt_response"], &detection["create_response"]), (&true.into(), &true.into()));
}

#[test]
fn a_cough_pauses_the_reply_which_goes_on_from_the_very_next_sample() {
    let mut world = speaking();
    let before = world.ports.requests.len();
    world.caller_speaks_ms(100);
    let sent = world.ports.rtp.len();
    world.server(&speech_started(1_000));
    world.caller_is_quiet_ms(300);
    assert!(world.voice_ms(sent) <= 40, "{} ms of voice in the pause", world.voice_ms(sent));
    world.server(&speech_stopped(1_700));
    world.server(&committed());
    world.finish_reply("R1", "A1", WORDS);
    world.run_ms(5_000);

    assert!(world.request_kinds(before).is_empty(), "{:?}", world.request_kinds(before));
    assert!(world.barge_ins().is_empty());
    let [(heard_ms, 300)] = reverted(&world)[..] else { panic!("{:?}", reverted(&world)) };
    assert!((1_000..=1_120).contains(&heard_ms), "{heard_ms}");
    assert_eq!(world.transcripts(), [(Speaker::Agent, WORDS.into(), false)]);
    assert_eq!(world.session.statistics().played_ms, 4_000, "all of it, and nothing twice");
    let voice = world.voice_ms(0);
    assert!((3_900..=4_100).contains(&voice), "{voice}");
}

#[test]
fn what_is_heard_around_the_pause_is_the_reply_without_a_click() {
    let mut plain = speaking();
    plain.run_ms(3_500);
    let mut world = speaking();
    world.server(&speech_started(1_000));
    world.run_ms(3_500);
    let (straight, held) = (plain.heard(0), world.heard(0));
    assert_eq!(plain.ports.rtp.len(), world.ports.rtp.len(), "the clock of packets does not stop");
    // The slot at 1000 ms was sent before the pause began and the one at 1300 ms goes on: 14 slots lie between them.
    let cut = straight.iter().zip(&held).position(|(a, b)| a != b).unwrap() / FRAME_SAMPLES;
    let correlation = |from: usize, shift: usize| {
        let (mut both, mut a2, mut b2) = (0.0, 0.0, 0.0);
        for index in from * FRAME_SAMPLES..(from + 25) * FRAME_SAMPLES {
            let (a, b) = (f64::from(straight[index]), f64::from(held[index + shift * FRAME_SAMPLES]));
            both += a * b;
            a2 += a * a;
            b2 += b * b;
        }
        both / (a2 * b2).sqrt()
    };
    let best = (10..20_usize).max_by(|&a, &b| correlation(cut + 5, a).total_cmp(&correlation(cut + 5, b))).unwrap();
    assert_eq!(best, 14, "280 ms later, to the frame");
    assert!(correlation(cut + 5, 14) > 0.99, "{}", correlation(cut + 5, 14));
    let steepest = |pcm: &[i16]| pcm.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
    assert!(steepest(&held) <= steepest(&straight).map(|step| step * 3 / 2), "no click");
}

#[test]
fn speech_that_goes_on_interrupts_at_the_point_of_the_pause() {
    let mut world = speaking();
    let before = world.ports.requests.len();
    world.caller_speaks_ms(60);
    world.server(&speech_started(1_000));
    assert!(world.request_kinds(before).is_empty(), "not yet");
    let sent = world.ports.rtp.len();
    world.caller_speaks_ms(200);
    assert_eq!(world.request_kinds(before), ["response.cancel", "conversation.item.truncate"]);
    let heard_ms = world.requests("conversation.item.truncate")[0]["audio_end_ms"].as_u64().unwrap();
    assert!((980..=1_080).contains(&heard_ms), "where the pause began: {heard_ms}");
    assert_eq!(world.barge_ins(), [(heard_ms, 4_000)]);
    assert!(reverted(&world).is_empty());
    assert_eq!(world.transcripts(), [(Speaker::Agent, "one two".into(), true)]);
    world.server(&response_done("R1", "cancelled"));
    world.caller_is_quiet_ms(500);
    assert!(world.voice_ms(sent) <= 40);
    world.server(&speech_stopped(1_900));
    assert!(world.requests("response.create").is_empty(), "the turn is not in the conversation yet");
    world.server(&committed());
    assert_eq!(world.requests("response.create").len(), 1, "what interrupted is answered");
}

#[test]
fn speech_already_long_enough_interrupts_at_once() {
    let mut world = speaking();
    world.caller_speaks_ms(300);
    let before = world.ports.requests.len();
    world.server(&speech_started(1_000));
    assert_eq!(world.request_kinds(before), ["response.cancel", "conversation.item.truncate"]);
}

#[test]
fn a_hesitant_start_interrupts_when_the_caller_speaks_on_after_the_pause() {
    let mut world = speaking();
    world.caller_speaks_ms(60);
    world.server(&speech_started(1_000));
    world.caller_is_quiet_ms(300);
    assert_eq!(reverted(&world).len(), 1);
    // Until the caller's tone swells again: what follows is voice from its beginning.
    world.caller_is_quiet_ms(160);
    assert!(world.barge_ins().is_empty());
    world.caller_speaks_ms(260);
    assert_eq!(world.barge_ins().len(), 1, "no new start is reported within one utterance");
}

#[test]
fn an_echo_right_after_our_voice_began_does_not_interrupt() {
    let mut world = speaking_for(240);
    world.caller_speaks_ms(100);
    world.server(&speech_started(200));
    // The echo of the last words before the pause comes for another round trip.
    world.caller_speaks_ms(100);
    world.caller_is_quiet_ms(200);
    assert_eq!(reverted(&world).len(), 1);
    world.caller_speaks_ms(600);
    assert!(world.barge_ins().is_empty(), "with our voice its echo comes back");
    world.server(&speech_stopped(1_500));
    assert_eq!(world.session.statistics().underruns, 0);
}

#[test]
fn a_caller_who_speaks_on_right_after_our_voice_began_interrupts() {
    let mut world = speaking_for(240);
    world.caller_speaks_ms(100);
    world.server(&speech_started(200));
    assert!(world.barge_ins().is_empty());
    world.caller_speaks_ms(180);
    assert!(world.barge_ins().is_empty(), "only voice within the pause counts");
    world.caller_speaks_ms(60);
    assert_eq!(world.barge_ins().len(), 1);
}

/// A greeting of three seconds, so long after it began.
fn greeting(hold: Reversible, played_ms: u64) -> World {
    let mut world = World::ready_with(Start { agent: agent(hold), ..Start::default() });
    world.accept();
    let created = response_created_for("R1", world.requests("response.create")[0]);
    world.server(&created);
    world.server(&audio_delta("R1", "A1", 3_000));
    world.server(&text_delta("R1", "A1", WORDS));
    world.finish_reply("R1", "A1", WORDS);
    world.caller_is_quiet_ms(played_ms);
    world
}

#[test]
fn a_protected_greeting_is_not_interrupted_until_its_time_is_over() {
    let protected = Reversible { protect_greeting_ms: 1_500, ..Reversible::default() };
    let mut world = greeting(protected, 600);
    let sent = world.ports.rtp.len();
    world.server(&speech_started(500));
    world.caller_speaks_ms(700);
    assert!(world.barge_ins().is_empty());
    assert_eq!(world.voice_ms(sent), 700, "it does not even pause");
    world.caller_speaks_ms(300);
    assert_eq!(world.barge_ins().len(), 1, "who speaks on is heard");

    let mut world = greeting(Reversible::default(), 600);
    world.server(&speech_started(500));
    world.caller_speaks_ms(400);
    assert_eq!(world.barge_ins().len(), 1, "unprotected");
}

#[test]
fn what_is_said_into_silence_is_answered_however_short() {
    let mut world = World::active_with(Start { agent: agent(Reversible::default()), ..Start::default() });
    world.caller_speaks_ms(100);
    world.server(&speech_started(0));
    world.caller_is_quiet_ms(600);
    world.server(&speech_stopped(600));
    world.server(&committed());
    assert_eq!(world.requests("response.create").len(), 1);
    assert!(reverted(&world).is_empty(), "nothing was held back");
}

#[test]
fn a_word_right_before_the_end_of_a_reply_is_answered_after_it() {
    let check = |words: &str, remaining_ms: u64, answers: usize| {
        let mut world = speaking();
        world.finish_reply("R1", "A1", WORDS);
        world.caller_is_quiet_ms(3_000 - remaining_ms);
        world.caller_speaks_ms(100);
        world.server(&speech_started(3_000));
        world.caller_is_quiet_ms(500);
        world.server(&speech_stopped(3_600));
        world.server(&committed());
        assert!(world.requests("response.create").is_empty(), "the AI is still speaking");
        world.server(&user_words(words));
        world.run_ms(3_000);
        assert_eq!(world.requests("response.create").len(), answers, "{words:?}, {remaining_ms} ms before the end");
    };
    check("Yes.", 1_200, 1);
    check("", 1_200, 0);
    check(" ... ", 1_200, 0);
    check("Uh-huh.", 2_900, 0);
}

#[test]
fn a_cough_does_not_keep_a_call_that_the_ai_ends_but_words_do() {
    let farewell = || {
        let mut world = speaking();
        world.server(&tool_call("R1", "end_call"));
        world.finish_reply("R1", "A1", WORDS);
        world
    };
    let mut world = farewell();
    world.caller_speaks_ms(80);
    world.server(&speech_started(1_000));
    world.run_ms(600);
    world.server(&speech_stopped(1_600));
    world.run_ms(5_000);
    assert_eq!(world.ending().1, "AGENT_HANGUP");
    assert_eq!(world.transcripts(), [(Speaker::Agent, WORDS.into(), false)]);

    let mut world = farewell();
    world.server(&speech_started(1_000));
    world.caller_speaks_ms(400);
    world.server(&speech_stopped(1_900));
    world.server(&user_words("And my order?"));
    world.run_ms(5_000);
    assert!(world.session.termination().is_none(), "the caller keeps the call");
}

#[test]
fn an_operator_interrupts_a_held_reply_for_good() {
    let mut world = speaking();
    world.server(&speech_started(1_000));
    world.run_ms(100);
    world.command(Command::Interrupt);
    assert_eq!(world.barge_ins().len(), 1);
    let sent = world.ports.rtp.len();
    world.run_ms(1_000);
    assert!(reverted(&world).is_empty());
    assert!(world.voice_ms(sent) <= 40);
}

#[test]
fn audio_that_comes_during_the_pause_waits() {
    let mut world = speaking();
    world.server(&speech_started(1_000));
    world.run_ms(100);
    world.server(&audio_delta("R1", "A1", 1_000));
    world.finish_reply("R1", "A1", WORDS);
    world.run_ms(6_000);
    assert_eq!(world.session.statistics().played_ms, 5_000);
}
