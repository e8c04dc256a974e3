//! Whole calls with a minimal answerer: media both ways, the gates before them, and the limits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::time::{interval, timeout};
use voicebridge_audio::{level::rms_dbfs, opus::Decoder};
use voicebridge_netem::{Loss, Profile, Reorder};
use voicebridge_simulator::meta::{
    CallHandle, CallRecord, CallerSettings, Continuity, EndedBy, Limits, MetaSettings, Moment, Network, Step, Utterance,
};

use crate::{
    answerer::{Answerer, SSRC},
    business::Business,
};

const FRAME: Duration = Duration::from_millis(20);

fn tone(milliseconds: usize) -> Vec<i16> {
    (0..milliseconds * 24).map(|i| ((i as f32 * 0.1).sin() * 8_000.0) as i16).collect()
}

/// Opus packets of speech and of silence, taken from what a caller would send.
fn packets(frames: usize, loud: bool) -> Vec<Bytes> {
    let pcm = if loud { tone(frames * 20) } else { vec![0; frames * 480] };
    let mut encoder = voicebridge_audio::opus::Encoder::new(Default::default()).unwrap();
    let mut out = [0; 1_500];
    pcm.chunks(480)
        .map(|frame| {
            let length = encoder.encode(frame, &mut out).unwrap();
            Bytes::copy_from_slice(&out[..length])
        })
        .collect()
}

async fn ring(business: &mut Business, settings: CallerSettings) -> (CallHandle, Answerer) {
    let handle = business.meta.call(settings).await.unwrap();
    let event = business.next_event().await;
    let peer = Answerer::new(event["session"]["sdp"].as_str().unwrap()).await;
    (handle, peer)
}

async fn play(peer: &mut Answerer, packets: &[Bytes]) {
    let mut pace = interval(FRAME);
    for packet in packets {
        pace.tick().await;
        peer.send(packet).await;
    }
}

async fn finish(handle: CallHandle) -> CallRecord {
    timeout(Duration::from_secs(20), handle.finish()).await.expect("the call ends")
}

#[tokio::test]
async fn a_call_carries_audio_both_ways() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let words = Utterance::new("words", &tone(600)).unwrap();
    let script = vec![
        Step::WaitHeard { quiet: Duration::from_millis(100) },
        Step::Say(words.clone()),
        Step::Silence(Duration::from_millis(200)),
        Step::HangUp,
    ];
    let (handle, mut peer) = ring(&mut business, CallerSettings { script, ..Default::default() }).await;
    business.answer(handle.id(), "pre_accept", &peer.sdp).await.succeeds();
    timeout(Duration::from_secs(5), peer.connected()).await.expect("connects");
    business.answer(handle.id(), "accept", &peer.sdp).await.succeeds();
    // The relay is silent until it is spoken to.
    assert!(timeout(Duration::from_millis(100), peer.heard.recv()).await.is_err());

    let (speech, silence) = (packets(25, true), packets(100, false));
    let sending = async {
        play(&mut peer, &speech).await;
        play(&mut peer, &silence).await;
    };
    // The caller hangs up while the silence still plays: then nobody reads it.
    drop(timeout(Duration::from_secs(10), sending).await);
    let record = finish(handle).await;

    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_eq!(record.violations, Vec::<String>::new());
    assert!(record.ssrcs.iter().eq([&SSRC]));
    let continuity = record.continuity();
    assert_eq!(continuity, Continuity { received: record.packets.len(), ..Default::default() });
    assert!(record.packets.len() >= 60, "{}", record.packets.len());
    assert_eq!((record.checks_before_answer > 0, record.dtls_before_answer), (true, 0));
    // What was heard: half a second of tone at the start, then silence.
    assert!(rms_dbfs(&record.pcm_heard[2_400..10_000]) > -20.0);
    assert!(rms_dbfs(&record.pcm_heard[14_400..24_000]) < -60.0);
    assert!(record.speech_heard >= Duration::from_millis(450), "{:?}", record.speech_heard);
    assert!(record.first_rtp_after_accept().is_some());

    // What was said: silence, then the words, in an unbroken stream.
    let mut heard = Vec::new();
    while let Ok(packet) = peer.heard.try_recv() {
        heard.push(packet);
    }
    assert!(heard.windows(2).all(|pair| {
        pair[1].header.sequence_number == pair[0].header.sequence_number.wrapping_add(1)
            && pair[1].header.timestamp == pair[0].header.timestamp.wrapping_add(960)
    }));
    assert!(heard.len() + 2 >= record.sent.len(), "{} of {}", heard.len(), record.sent.len());
    let first = record.spoken[0].first_packet;
    assert_eq!(record.spoken[0].utterance.name(), "words");
    let mut decoder = Decoder::new().unwrap();
    let loud: Vec<bool> = heard
        .iter()
        .map(|packet| {
            let mut pcm = [0; 480];
            decoder.decode(&packet.payload, &mut pcm).unwrap();
            rms_dbfs(&pcm) > -40.0
        })
        .collect();
    assert_eq!(loud.iter().position(|loud| *loud), Some(first));
    assert!(loud[first..first + 30].iter().all(|loud| *loud));
    assert_eq!(&record.pcm_said()[first * 480..][..words.pcm().len()], words.pcm());

    let terminate = business.next_event().await;
    assert_eq!((&terminate["event"], &terminate["status"]), (&json!("terminate"), &json!("COMPLETED")));
    assert!(terminate["start_time"].is_string() && terminate["duration"].is_u64());
    assert_eq!(terminate["biz_opaque_callback_data"], "job-9");
    peer.close().await;
}

#[tokio::test]
async fn dtls_is_dropped_until_the_answer_was_delivered() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let (handle, mut peer) = ring(&mut business, CallerSettings::default()).await;
    // The answerer starts at once; its checks are answered, its handshake is not.
    assert!(timeout(Duration::from_millis(500), peer.connected()).await.is_err());
    business.answer(handle.id(), "pre_accept", &peer.sdp).await.succeeds();
    timeout(Duration::from_secs(5), peer.connected()).await.expect("connects with a later flight");
    business.act(handle.id(), "reject").await.succeeds();
    let record = finish(handle).await;
    assert!(record.checks_before_answer > 0 && record.dtls_before_answer > 0);
    assert!(record.timeline.between(Moment::PreAcceptAnswered, Moment::TransportConnected).is_some());
    peer.close().await;
}

#[tokio::test]
async fn media_before_accept_is_a_violation_and_not_heard() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let (handle, mut peer) = ring(&mut business, CallerSettings::default()).await;
    business.answer(handle.id(), "pre_accept", &peer.sdp).await.succeeds();
    timeout(Duration::from_secs(5), peer.connected()).await.expect("connects");
    let (speech, silence) = (packets(5, true), packets(5, false));
    play(&mut peer, &speech).await;
    business.answer(handle.id(), "accept", &peer.sdp).await.succeeds();
    play(&mut peer, &silence).await;
    handle.reached(Moment::MediaStarted).await.unwrap();
    handle.hang_up().await;
    let record = finish(handle).await;
    assert_eq!(record.violations.len(), 1, "{:?}", record.violations);
    assert!(record.violations[0].contains("RTP packets before accept"));
    assert_eq!(record.first_rtp_after_accept(), None);
    assert_eq!((record.packets.len() > 5, record.speech_heard), (true, Duration::ZERO));
    peer.close().await;
}

#[tokio::test]
async fn a_business_that_sends_nothing_is_left() {
    let limits = Limits { first_media: Duration::from_millis(300), ..Limits::default() };
    let mut business = Business::start(MetaSettings { limits, ..Default::default() }, vec![]).await;
    let (handle, peer) = ring(&mut business, CallerSettings::default()).await;
    // Accept alone is allowed.
    business.answer(handle.id(), "accept", &peer.sdp).await.succeeds();
    let accepted = Instant::now();
    let record = finish(handle).await;
    assert_eq!(record.ended_by, EndedBy::NoMedia);
    assert!(accepted.elapsed() >= Duration::from_millis(280));
    let terminate = business.next_event().await;
    assert_eq!((&terminate["status"], &terminate["errors"][0]["code"]), (&json!("FAILED"), &json!(138_021)));
    peer.close().await;
}

#[tokio::test]
async fn a_business_that_falls_silent_is_left() {
    let limits = Limits { media_silence: Duration::from_millis(400), ..Limits::default() };
    let mut business = Business::start(MetaSettings { limits, ..Default::default() }, vec![]).await;
    let (handle, mut peer) = ring(&mut business, CallerSettings::default()).await;
    business.answer(handle.id(), "pre_accept", &peer.sdp).await.succeeds();
    timeout(Duration::from_secs(5), peer.connected()).await.expect("connects");
    business.answer(handle.id(), "accept", &peer.sdp).await.succeeds();
    play(&mut peer, &packets(10, false)).await;
    handle.reached(Moment::FirstRtp).await.unwrap();
    peer.close().await;
    let record = finish(handle).await;
    assert_eq!(record.ended_by, EndedBy::NoMedia);
    assert!(!record.packets.is_empty() && record.violations.is_empty(), "{:?}", record.violations);
}

#[tokio::test]
async fn a_bad_network_loses_and_reorders_media_both_ways() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let reorder = Some(Reorder { share: 0.1, held_back: Duration::from_millis(30) });
    let delay = Duration::from_millis(40);
    let profile = Profile { loss: Loss::Random(0.2), delay, reorder, ..Profile::CLEAN };
    let network = Some(Network { to_business: profile, from_business: profile, seed: 3 });
    let script = vec![Step::Silence(Duration::from_secs(3)), Step::HangUp];
    let (handle, mut peer) = ring(&mut business, CallerSettings { script, network, ..Default::default() }).await;
    business.answer(handle.id(), "pre_accept", &peer.sdp).await.succeeds();
    // Setting up is left alone: losses would cost DTLS a second each.
    timeout(Duration::from_millis(900), peer.connected()).await.expect("connects");
    business.answer(handle.id(), "accept", &peer.sdp).await.succeeds();
    drop(timeout(Duration::from_secs(10), play(&mut peer, &packets(160, true))).await);
    let record = finish(handle).await;

    assert_eq!(record.ended_by, EndedBy::Caller);
    let report = record.network.expect("the network was a bad one");
    for link in [report.to_business, report.from_business] {
        assert!(link.sent > 130, "{report:?}");
        let lost = link.lost as f64 / link.sent as f64;
        assert!((0.1..0.3).contains(&lost) && link.duplicated == 0, "{report:?}");
    }
    let continuity = record.continuity();
    assert!(continuity.lost > 13 && continuity.reordered > 3 && continuity.duplicated == 0, "{continuity:?}");
    let mut heard = Vec::new();
    while let Ok(packet) = peer.heard.try_recv() {
        heard.push(packet.header.sequence_number);
    }
    assert!(heard.len() * 10 < record.sent.len() * 9, "{} of {}", heard.len(), record.sent.len());
    let overtaken = heard.windows(2).filter(|pair| (pair[1].wrapping_sub(pair[0]) as i16) < 0).count();
    assert!(overtaken > 3, "{overtaken} overtaken");
}
