//! A minute of one call: the stream towards the caller never breaks, whoever speaks or is silent.

use std::time::Duration;

use voicebridge_simulator::meta::{Continuity, EndedBy, Step};
use voicebridge_system_tests::Setup;

use crate::talk::{NOTICEABLE, assert_no_violations, caller, heard, say, sensible_ai};

const MINUTE: Duration = Duration::from_secs(60);
const PACKETS_PER_SECOND: f64 = 50.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_packets_every_20_ms_in_one_stream() {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let script = vec![heard(), say("opening-hours"), heard(), Step::Silence(MINUTE), Step::HangUp];
    let record = world.meta.call(caller(script)).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;

    assert_eq!(record.ended_by, EndedBy::Caller);
    let received = record.packets.len();
    assert_eq!(record.continuity(), Continuity { received, ..Continuity::default() });
    assert_eq!(record.ssrcs.len(), 1);
    let span = record.packets[received - 1].at.duration_since(record.packets[0].at);
    assert!(span >= MINUTE, "{span:?}");
    let rate = (received - 1) as f64 / span.as_secs_f64();
    assert!((rate - PACKETS_PER_SECOND).abs() < 0.5, "{rate} packets a second");
    let gaps = record.gaps_over(NOTICEABLE);
    assert!(gaps.is_empty(), "{gaps:?}; the caller itself was late by up to {:?}", record.worst_own_delay);
    // RFC 3550 asks for a report every five seconds or so.
    assert!(record.sender_reports >= 6, "{} sender reports", record.sender_reports);

    let statistics = call.statistics.unwrap();
    assert_eq!(statistics.packets_lost + statistics.packets_discarded, 0, "{statistics:?}");
    // Time that a starved machine loses is given to silence, and what comes after it is late.
    assert!(statistics.packets_late <= statistics.packets_received / 100, "{statistics:?}");
    assert_eq!(statistics.underruns, 0, "{statistics:?}");
    // The AI's clock is the caller's RTP clock: it was given as much audio as the caller sent.
    let session = world.ai().sessions().remove(0);
    let sent_ms = record.sent.len() as f64 * 20.0;
    let given_ms = session.appends.samples as f64 / 24.0;
    assert!((sent_ms - given_ms).abs() < 1_500.0, "sent {sent_ms} ms, given {given_ms} ms");
    assert_no_violations(&record, &session);
    world.stop().await;
}
