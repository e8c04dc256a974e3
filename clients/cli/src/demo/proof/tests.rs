//! A call made of known recordings holds; with one thing broken, exactly the finding about it does not.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use voicebridge_proto::{
    control::v1::Call,
    types::v1::{BargedIn, Event, Speaker, Termination, TerminationResult, Transcript, event::Kind},
};
use voicebridge_simulator::{
    ai::{ReplyRecord, SessionRecord, Truncation},
    meta::{CallRecord, Codec, EndedBy, ReceivedPacket, Spoken, Timeline, Utterance},
    speech::fixture,
};

use super::{Evidence, examine};
use crate::demo::cast::{Caller, Plot};

const MS: usize = 24;
/// Where the interrupted reply was cut.
const CUT_MS: u64 = 1_800;

fn pcm(name: &str) -> Vec<i16> {
    fixture(name).unwrap().pcm.clone()
}

fn text(name: &str) -> String {
    fixture(name).unwrap().text.clone()
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * MS]
}

fn reply(name: &str, item_id: &str) -> ReplyRecord {
    ReplyRecord {
        response_id: format!("resp_{item_id}"),
        item_id: item_id.into(),
        name: name.into(),
        transcript: text(name),
        pcm: pcm(name),
        pieces: Vec::new(),
        status: "completed".into(),
        reason: String::new(),
        tool: None,
        created_ms: 0,
        first_audio_ms: None,
        done_ms: None,
    }
}

fn line(speaker: Speaker, text: String, interrupted: bool) -> Transcript {
    Transcript { speaker: speaker.into(), text, interrupted, ..Transcript::default() }
}

/// Greeting, question, an answer interrupted by another question, its answer.
fn interrupted_call() -> Evidence {
    let cut = CUT_MS as usize * MS;
    let at = Instant::now();
    let packets = (0..600u32)
        .map(|index| ReceivedPacket {
            at: at + Duration::from_millis(20) * index,
            sequence: index as u16,
            timestamp: index * 960,
            ssrc: 7,
            payload_type: 111,
            bytes: 60,
        })
        .collect();
    let spoken = |name: &str| Spoken { utterance: Utterance::new(name, &pcm(name)).unwrap(), first_packet: 0 };
    let record = CallRecord {
        call_id: "wacid.X".into(),
        from: None,
        codec: Codec::Opus,
        timeline: Timeline::default(),
        sdp_offer: String::new(),
        sdp_pre_accept: Some("v=0".into()),
        sdp_accept: Some("v=0".into()),
        graph: Vec::new(),
        pcm_heard: [
            silence(300),
            pcm("welcome"),
            silence(3_000),
            pcm("three-steps")[..cut].to_vec(),
            silence(3_000),
            pcm("open-from-nine"),
            silence(500),
        ]
        .concat(),
        speech_heard: Duration::ZERO,
        packets,
        ssrcs: BTreeSet::from([7]),
        sender_reports: 3,
        receiver_reports: 3,
        checks_before_answer: 0,
        dtls_before_answer: 0,
        sent: Vec::new(),
        spoken: vec![spoken("wait-a-moment"), spoken("opening-hours")],
        worst_own_delay: Duration::ZERO,
        ended_by: EndedBy::Caller,
        biz_opaque_callback_data: None,
        terminate: None,
        network: None,
        violations: Vec::new(),
    };
    let session = SessionRecord {
        pcm: [silence(4_000), pcm("wait-a-moment"), silence(2_000), pcm("opening-hours"), silence(1_000)].concat(),
        replies: vec![reply("welcome", "a1"), reply("three-steps", "a2"), reply("open-from-nine", "a3")],
        truncates: vec![Truncation { item_id: "a2".into(), audio_end_ms: CUT_MS, item_ms: 8_387 }],
        ..SessionRecord::default()
    };
    let call = Call {
        region: "eu".into(),
        termination: Some(Termination {
            result: TerminationResult::Completed.into(),
            reason: "USER_HANGUP".into(),
            ..Termination::default()
        }),
        ..Call::default()
    };
    let transcripts = vec![
        line(Speaker::Agent, text("welcome"), false),
        line(Speaker::Caller, text("wait-a-moment"), false),
        line(Speaker::Agent, "Of course. First I look".into(), true),
        line(Speaker::Caller, text("opening-hours"), false),
        line(Speaker::Agent, text("open-from-nine"), false),
    ];
    let barged_in = BargedIn { item_id: "a2".into(), heard_ms: CUT_MS, received_ms: 8_387 };
    Evidence {
        caller: Caller {
            number: "447700900001".into(),
            country: "GB",
            name: "Ben",
            region: "eu",
            plot: Plot::BargeIn,
            says: vec!["wait-a-moment".into(), "opening-hours".into()],
        },
        record,
        session: Some(session),
        call,
        transcripts,
        events: vec![Event { kind: Some(Kind::BargedIn(barged_in)), ..Event::default() }],
    }
}

fn session(evidence: &mut Evidence) -> &mut SessionRecord {
    evidence.session.as_mut().unwrap()
}

/// Breaks one thing and checks which claims fall.
#[track_caller]
fn check(break_it: impl FnOnce(&mut Evidence), fallen: &[&str]) {
    let mut evidence = interrupted_call();
    break_it(&mut evidence);
    let findings = examine(&evidence);
    let broken: Vec<_> = findings.iter().filter(|finding| !finding.holds).collect();
    let claims: Vec<&str> = broken.iter().map(|finding| finding.claim).collect();
    assert_eq!(claims, fallen, "{broken:#?}");
}

#[test]
fn a_good_call_holds() {
    check(|_| {}, &[]);
}

#[test]
fn what_one_side_did_not_hear_is_noticed() {
    check(|call| session(call).pcm = silence(9_000), &["the AI heard the caller's words"]);
    check(
        |call| session(call).pcm = [silence(900), pcm("opening-hours"), silence(900), pcm("wait-a-moment")].concat(),
        &["the AI heard the caller's words"],
    );
    check(
        |call| call.record.pcm_heard = silence(9_000),
        &["the caller heard the AI's words", "the interrupted reply stopped where the AI was told"],
    );
    check(|call| drop(call.record.spoken.pop()), &["the AI heard the caller's words"]);
    check(|call| call.session = None, &["the AI had a session"]);
}

#[test]
fn stuttering_speech_does_not_pass() {
    let stutter = |speech: Vec<i16>| -> Vec<i16> {
        // Every fifth 100 ms repeated: all words are there, and it sounds broken.
        let blocks = speech.chunks(100 * MS).enumerate();
        blocks.flat_map(|(index, block)| block.repeat(if index % 5 == 4 { 2 } else { 1 })).collect()
    };
    check(|call| session(call).pcm = stutter(session(call).pcm.clone()), &["the AI heard the caller's words"]);
}

#[test]
fn a_reply_that_went_on_after_the_interruption_is_noticed() {
    const CLAIM: &str = "the interrupted reply stopped where the AI was told";
    let later = (CUT_MS as usize + 400) * MS;
    check(
        |call| {
            call.record.pcm_heard = [
                pcm("welcome"),
                silence(900),
                pcm("three-steps")[..later].to_vec(),
                silence(900),
                pcm("open-from-nine"),
            ]
            .concat();
        },
        &[CLAIM],
    );
    check(
        |call| session(call).truncates.clear(),
        &["the caller heard the AI's words", CLAIM, "the record of the call tells what was said"],
    );
    check(|call| call.events.clear(), &[CLAIM]);
    check(
        |call| {
            let kind = Kind::BargedIn(BargedIn { item_id: "a2".into(), heard_ms: CUT_MS + 40, received_ms: 8_387 });
            call.events[0].kind = Some(kind);
        },
        &[CLAIM],
    );
}

#[test]
fn broken_signalling_and_streams_are_noticed() {
    let stream = "the caller got one unbroken stream of 20 ms packets";
    check(
        |call| {
            call.record.packets.remove(100);
        },
        &[stream],
    );
    check(|call| call.record.ssrcs.extend([8]), &[stream]);
    check(|call| call.record.sender_reports = 0, &[stream]);
    check(|call| call.record.sdp_accept = None, &["pre_accept and accept carried the identical SDP"]);
    check(
        |call| call.record.sdp_accept = Some("v=0 other".into()),
        &["pre_accept and accept carried the identical SDP"],
    );
    check(|call| call.record.violations.push("RTP before accept".into()), &["no rule of Meta's was broken"]);
    check(|call| call.call.region = "sa".into(), &["the call was placed in the caller's region"]);
    check(|call| call.call.termination = None, &["the call ended once, as it should"]);
}

#[test]
fn a_record_without_the_words_is_noticed() {
    let claim = "the record of the call tells what was said";
    check(|call| drop(call.transcripts.remove(1)), &[claim]);
    check(|call| call.transcripts[2].interrupted = false, &[claim]);
    check(|call| call.transcripts[4].text.push('!'), &[claim]);
}
