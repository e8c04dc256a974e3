//! The caller interrupts: silence at once, and the provider's conversation ends where the caller stopped listening.

use voicebridge_session::{Command, Speaker};

use crate::harness::{World, audio_delta, response_created, response_done, speech_started, text_delta};

/// A reply of four seconds whose generation goes on while it is played.
fn speaking() -> World {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 4_000));
    world.server(&text_delta("R1", "A1", "one two three four five six seven eight"));
    world
}

#[test]
fn an_active_response_is_silenced_cancelled_and_truncated() {
    let mut world = speaking();
    world.run_ms(1_000);
    let sent = world.ports.rtp.len();
    let before = world.ports.requests.len();
    world.server(&speech_started(900));
    assert_eq!(world.request_kinds(before), ["response.cancel", "conversation.item.truncate"]);
    let cancel = world.requests("response.cancel")[0];
    assert_eq!(cancel["response_id"], "R1");
    let truncate = world.requests("conversation.item.truncate")[0];
    assert_eq!((&truncate["item_id"], &truncate["content_index"]), (&"A1".into(), &0.into()));
    let heard_ms = truncate["audio_end_ms"].as_u64().unwrap();
    assert_eq!(world.barge_ins(), [(heard_ms, 4_000)]);
    assert!((940..=1_000).contains(&heard_ms), "{heard_ms} ms were handed to RTP");

    world.run_ms(1_000);
    assert!(world.voice_ms(sent) <= 40, "{} ms of voice after the interruption", world.voice_ms(sent));
    assert_eq!(world.transcripts(), [(Speaker::Agent, "one two".into(), true)]);
}

#[test]
fn a_finished_response_still_playing_is_flushed_and_truncated_but_not_cancelled() {
    let mut world = speaking();
    world.finish_reply("R1", "A1", "one two three four five six seven eight");
    world.run_ms(2_000);
    let (sent, before) = (world.ports.rtp.len(), world.ports.requests.len());
    world.server(&speech_started(1_800));
    assert_eq!(world.request_kinds(before), ["conversation.item.truncate"]);
    world.run_ms(500);
    assert!(world.voice_ms(sent) <= 40);
    let transcripts = world.transcripts();
    assert_eq!(transcripts.len(), 1);
    assert!(transcripts[0].1.starts_with("one two") && !transcripts[0].1.contains("five"), "{transcripts:?}");
}

#[test]
fn what_was_never_heard_is_deleted() {
    let mut world = speaking();
    world.server(&audio_delta("R1", "A2", 500));
    world.run_ms(200);
    let before = world.ports.requests.len();
    world.server(&speech_started(100));
    assert_eq!(
        world.request_kinds(before),
        ["response.cancel", "conversation.item.truncate", "conversation.item.delete"]
    );
    assert_eq!(world.requests("conversation.item.delete")[0]["item_id"], "A2");
}

#[test]
fn nothing_heard_at_all_is_a_deletion_not_a_truncation_to_zero() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 20));
    let before = world.ports.requests.len();
    world.server(&speech_started(100));
    assert_eq!(world.request_kinds(before), ["response.cancel", "conversation.item.delete"]);
    assert_eq!(world.barge_ins(), [(0, 20)]);
    assert!(world.transcripts().is_empty());
}

#[test]
fn a_response_without_audio_yet_is_only_cancelled() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    let before = world.ports.requests.len();
    world.server(&speech_started(100));
    assert_eq!(world.request_kinds(before), ["response.cancel"]);
    world.server(&speech_started(300));
    assert_eq!(world.request_kinds(before), ["response.cancel"], "once");
    assert!(world.barge_ins().is_empty());
}

#[test]
fn nothing_is_sent_when_everything_was_heard() {
    let mut world = World::active();
    world.reply("R1", "A1", "Fine.", 500);
    world.run_ms(1_000);
    let before = world.ports.requests.len();
    world.server(&speech_started(900));
    assert!(world.request_kinds(before).is_empty());
    assert!(world.barge_ins().is_empty());
    assert_eq!(world.transcripts(), [(Speaker::Agent, "Fine.".into(), false)]);
}

#[test]
fn the_next_reply_is_heard_as_if_nothing_had_been() {
    let mut world = speaking();
    world.run_ms(500);
    world.server(&speech_started(400));
    world.server(&response_done("R1", "cancelled"));
    world.run_ms(1_000);
    let sent = world.ports.rtp.len();
    world.reply("R2", "A2", "All right.", 1_000);
    world.run_ms(1_500);
    let voice = world.voice_ms(sent);
    assert!((980..=1_100).contains(&voice), "{voice}");
    assert_eq!(world.transcripts().last().unwrap(), &(Speaker::Agent, "All right.".into(), false));
}

#[test]
fn an_operator_interrupts_like_a_caller() {
    let mut world = speaking();
    world.run_ms(600);
    let before = world.ports.requests.len();
    world.command(Command::Interrupt);
    assert_eq!(world.request_kinds(before), ["response.cancel", "conversation.item.truncate"]);
    assert_eq!(world.barge_ins().len(), 1);
}

#[test]
fn truncation_never_exceeds_what_was_received() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 130));
    world.run_ms(1_000);
    world.server(&speech_started(900));
    let truncate = world.requests("conversation.item.truncate")[0];
    assert!(truncate["audio_end_ms"].as_u64().unwrap() <= 130, "{truncate}");
}
