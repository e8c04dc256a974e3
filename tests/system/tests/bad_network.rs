//! A call over a bad network: media is lost, delayed and reordered both ways, and the two still understand each other.

use std::time::Duration;

use voicebridge_netem::{Jitter, LinkStatistics, Loss, Profile, Reorder};
use voicebridge_proto::{control::v1::Call, types::v1::TerminationResult};
use voicebridge_simulator::{
    meta::{CallerSettings, EndedBy, Network, NetworkReport, Step},
    speech::{Recognised, recognise_all},
};
use voicebridge_system_tests::{Setup, termination};

use crate::talk::{assert_ended, assert_no_violations, caller, heard, say, sensible_ai};

const MINUTE: Duration = Duration::from_secs(60);
/// Questions asked; with their answers they fill most of the minute.
const QUESTIONS: usize = 4;
/// The AI hears concealment where FEC cannot help: a word lowers the correlation, another sentence is far below.
const RECOGNISABLE: f32 = 0.8;
/// The simulated caller's ear conceals nothing, it hears a hole for every packet that is lost or late.
const RECOGNISABLE_WITH_HOLES: f32 = 0.6;

fn bad() -> Profile {
    Profile {
        loss: Loss::Random(0.05),
        delay: Duration::from_millis(20),
        jitter: Jitter::uniform(Duration::from_millis(30)),
        reorder: Some(Reorder { share: 0.02, held_back: Duration::from_millis(25) }),
        ..Profile::CLEAN
    }
}

/// A minute in which the caller asks the same again and again.
fn insists() -> CallerSettings {
    let mut script = vec![heard()];
    for _ in 0..QUESTIONS {
        script.extend([say("opening-hours"), heard()]);
    }
    script.extend([Step::Silence(MINUTE / 2), Step::HangUp]);
    let network = Network { to_business: bad(), from_business: bad(), seed: 5 };
    CallerSettings { network: Some(network), ..caller(script) }
}

/// As bad as asked for: the call is a sample of some 3000 packets each way.
fn assert_bad(link: LinkStatistics) {
    let lost = link.lost as f64 / link.sent as f64;
    assert!(link.sent > 2_500, "{link:?}");
    assert!((0.035..0.065).contains(&lost), "{link:?}");
    assert!(link.overtook > link.sent / 50, "{link:?}");
}

fn assert_recognised(found: &[Recognised], expected: &[&str], least: f32) {
    let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, expected);
    assert!(found.iter().all(|one| one.correlation >= least), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_losses_both_ways_is_still_a_conversation() {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let record = world.meta.call(insists()).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    let session = world.ai().sessions().remove(0);

    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_ended(&call, "USER_HANGUP", "");
    assert_eq!(termination(&call).result(), TerminationResult::Completed);
    assert!(record.sent.len() as u64 * 20 >= MINUTE.as_millis() as u64, "{} packets", record.sent.len());
    let network = record.network.expect("this call has a bad network");
    assert_bad(network.to_business);
    assert_bad(network.from_business);

    // Each side heard all of what the other said.
    let understood: Vec<Recognised> = session.utterances.iter().filter_map(|one| one.recognised.clone()).collect();
    assert_recognised(&understood, &["opening-hours"; QUESTIONS], RECOGNISABLE);
    let mut replies = vec!["welcome"];
    replies.extend(["open-from-nine"; QUESTIONS]);
    assert_recognised(&recognise_all(&record.pcm_heard), &replies, RECOGNISABLE_WITH_HOLES);
    assert_no_violations(&record, &session);

    // The node saw the losses the network made, and the AI's clock ran on through them.
    let statistics = call.statistics.unwrap();
    let missing = statistics.packets_lost + statistics.packets_late;
    let lost = network.to_business.lost;
    assert!((lost * 8 / 10..=lost * 13 / 10).contains(&missing), "{statistics:?}, lost {lost}");
    let sent_ms = record.sent.len() as f64 * 20.0;
    let given_ms = session.appends.samples as f64 / 24.0;
    assert!((sent_ms - given_ms).abs() < 1_500.0, "sent {sent_ms} ms, given {given_ms} ms");
    assert_told(&call, network);
    world.stop().await;
}

/// The record of the call says what was wrong with it: how much was lost each way, and that this spoilt it.
fn assert_told(call: &Call, network: NetworkReport) {
    let quality = call.quality.as_ref().expect("a call that was answered has a quality");
    let (uplink, downlink) = (quality.uplink.as_ref().unwrap(), quality.downlink.as_ref().unwrap());
    let lost_percent = |link: LinkStatistics| link.lost as f32 * 100.0 / link.sent as f32;
    assert!((uplink.loss_percent - lost_percent(network.to_business)).abs() < 1.5, "{quality:?}, {network:?}");
    // The caller reports what it lost every few seconds, and the reports are lost as well.
    assert!(quality.reports > 3, "{quality:?}");
    assert!((downlink.loss_percent - lost_percent(network.from_business)).abs() < 2.5, "{quality:?}, {network:?}");
    for direction in [uplink, downlink] {
        // Below what a call without losses gets, above what nobody could follow.
        assert!((2.0..4.4).contains(&direction.mos), "{quality:?}");
        assert!(direction.cause.contains("lost"), "{quality:?}");
    }
    assert!(quality.cause.contains("lost"), "{quality:?}");
}
