//! Sessions over the real gRPC server, real sockets and the embedded AI.

#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use support::{
    PATIENCE, Phone, TestNode,
    caller::{Kind, attribute},
    next_event, next_sequence, start_request, wait_for,
};
use tonic::Code;
use voicebridge_proto::{
    media::v1::{
        AdvanceSessionRequest, Command, EndSessionRequest, GetNodeRequest, GetSessionRequest, Interrupt,
        ListSessionsRequest, SendCommandRequest, SendDtmf, StartSessionRequest, StreamEventsRequest, command,
    },
    types::v1::{
        Agent, Caller, MediaStatistics, SessionState, SignallingMode, SignallingStage, Stage, Termination,
        TerminationResult, event::Kind as Event,
    },
};
use voicebridge_telemetry::status::{metadata, reason};

fn advance(session_id: &str, stage: SignallingStage) -> AdvanceSessionRequest {
    AdvanceSessionRequest { session_id: session_id.into(), stage: stage.into() }
}

fn hangup(session_id: &str) -> EndSessionRequest {
    let termination = Termination {
        result: TerminationResult::Completed.into(),
        reason: "USER_HANGUP".into(),
        ..Termination::default()
    };
    EndSessionRequest { session_id: session_id.into(), termination: Some(termination) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_like_meta_s_carries_the_greeting() {
    let mut node = TestNode::start(|_| {}).await;
    let mut phone = Phone::ring(Kind::Relay);
    let mut request = start_request("s1", &phone.offer);
    // Much longer than the test takes: what is counted from elsewhere is less.
    request.elapsed_ms = 25_000;
    let started = node.client.start_session(request).await.unwrap().into_inner();
    assert!(started.sdp_answer.contains("a=setup:active\r\n"));
    assert!(!started.sdp_answer.contains("transport-cc"));
    phone.answer(&started.sdp_answer);
    assert!(phone.listen(Duration::from_millis(300)).await.is_empty(), "nothing before ANSWER_DELIVERED");

    let delivered = node.client.advance_session(advance("s1", SignallingStage::AnswerDelivered)).await.unwrap();
    assert_eq!(delivered.into_inner().stage(), SignallingStage::AnswerDelivered);
    let mut events = node.events("s1", 0).await;
    wait_for(&mut events, |kind| matches!(kind, Event::TransportConnected(_))).await;
    assert!(phone.listen(Duration::from_millis(300)).await.is_empty(), "no RTP before ACCEPTED");
    let session = node.client.get_session(GetSessionRequest { session_id: "s1".into() }).await.unwrap().into_inner();
    assert_eq!(session.session.unwrap().state(), SessionState::Connected);

    let stage = node.client.advance_session(advance("s1", SignallingStage::Accepted)).await.unwrap().into_inner();
    assert_eq!(stage.stage(), SignallingStage::Accepted);
    // Going back changes nothing.
    let again = node.client.advance_session(advance("s1", SignallingStage::AnswerDelivered)).await.unwrap();
    assert_eq!(again.into_inner().stage(), SignallingStage::Accepted);
    phone.speak(vec![vec![0xf8, 0xff, 0xfe]; 150]);
    let active = wait_for(
        &mut events,
        |kind| matches!(kind, Event::StageReached(reached) if reached.stage() == Stage::MediaBridgeActive),
    )
    .await;
    assert!((25_000..60_000).contains(&active.elapsed_ms), "counted from the webhook: {}", active.elapsed_ms);

    // Three seconds of them, and not sooner: at most a few frames at a time make up for a late tick.
    let heard = phone.hear(150).await;
    let took = heard[149].0 - heard[0].0;
    assert!(took > Duration::from_millis(2_800), "three seconds of audio in {took:?}");
    let ssrcs: BTreeSet<u32> = heard.iter().map(|(_, packet)| packet.header.ssrc).collect();
    let announced: u32 = attribute(&started.sdp_answer, "ssrc").unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(ssrcs, BTreeSet::from([announced]));
    for pair in heard.windows(2) {
        let (before, after) = (&pair[0].1.header, &pair[1].1.header);
        assert_eq!(after.sequence_number, before.sequence_number.wrapping_add(1));
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(960));
    }
    assert!(heard.iter().any(|(_, packet)| packet.payload.len() > 20), "the greeting is no silence");

    let standing = node.client.end_session(hangup("s1")).await.unwrap().into_inner().termination.unwrap();
    assert_eq!(standing.reason, "USER_HANGUP");
    let ended = wait_for(&mut events, |kind| matches!(kind, Event::SessionEnded(_))).await;
    let Some(Event::SessionEnded(ended)) = ended.kind else { unreachable!() };
    assert!(ended.statistics.unwrap().packets_sent >= 150);
    assert!(next_event(&mut events).await.is_none(), "the stream closes after the last event");
    // Idempotent, and the first ending stands.
    let mut other = hangup("s1");
    other.termination.as_mut().unwrap().reason = "API_HANGUP".into();
    let standing = node.client.end_session(other).await.unwrap().into_inner().termination.unwrap();
    assert_eq!(standing.reason, "USER_HANGUP");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_never_advances_connects_at_once() {
    let mut node = TestNode::start(|_| {}).await;
    let mut phone = Phone::ring(Kind::Browser);
    let mut request = start_request("s1", &phone.offer);
    request.signalling_mode = SignallingMode::Immediate.into();
    let started = node.client.start_session(request).await.unwrap().into_inner();
    phone.answer(&started.sdp_answer);
    let mut events = node.events("s1", 0).await;
    wait_for(
        &mut events,
        |kind| matches!(kind, Event::StageReached(reached) if reached.stage() == Stage::MediaBridgeActive),
    )
    .await;
    phone.hear(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starting_is_idempotent_also_at_the_same_time() {
    let mut node = TestNode::start(|raw| raw.max_sessions = Some("1".into())).await;
    let phone = Phone::ring(Kind::Relay);
    let starts = (0..8).map(|_| {
        let (mut client, request) = (node.client.clone(), start_request("s1", &phone.offer));
        tokio::spawn(async move { client.start_session(request).await.unwrap().into_inner().sdp_answer })
    });
    let mut answers = BTreeSet::new();
    for start in starts.collect::<Vec<_>>() {
        answers.insert(start.await.unwrap());
    }
    assert_eq!(answers.len(), 1);
    let other = node.client.start_session(start_request("s2", &phone.offer)).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_deref()), (Code::ResourceExhausted, Some("NODE_FULL")));
    // A slot taken is given back.
    node.client.end_session(hangup("s1")).await.unwrap();
    let answer = node.client.start_session(start_request("s2", &phone.offer)).await.unwrap().into_inner().sdp_answer;
    assert!(!answers.contains(&answer), "nothing of the first call is used again");
    let list = |include_ended| ListSessionsRequest { include_ended };
    assert_eq!(node.client.list_sessions(list(false)).await.unwrap().into_inner().sessions.len(), 1);
    assert_eq!(node.client.list_sessions(list(true)).await.unwrap().into_inner().sessions.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_started_otherwise_is_refused_by_name() {
    let mut node = TestNode::start(|_| {}).await;
    let phone = Phone::ring(Kind::Relay);
    let caller = Caller { phone_number: "5511900000001".into(), ..Caller::default() };
    let agent = |name: &str| Agent {
        variables: (0..9).map(|n| (format!("v{n}"), name.to_owned())).collect(),
        ..Agent::default()
    };
    let first =
        StartSessionRequest { caller: Some(caller), agent: Some(agent("Ana")), ..start_request("s1", &phone.offer) };
    let answer = node.client.start_session(first.clone()).await.unwrap().into_inner().sdp_answer;
    let later = StartSessionRequest { elapsed_ms: 5_000, ..first.clone() };
    assert_eq!(node.client.start_session(later).await.unwrap().into_inner().sdp_answer, answer);
    for (other, field) in [
        (StartSessionRequest { sdp_offer: Phone::ring(Kind::Relay).offer, ..first.clone() }, "sdp_offer"),
        (StartSessionRequest { agent: Some(agent("Bia")), ..first.clone() }, "agent"),
        (StartSessionRequest { caller: None, ..first.clone() }, "caller"),
        (StartSessionRequest { call_id: "wacid.other".into(), ..first.clone() }, "call_id"),
        (StartSessionRequest { signalling_mode: SignallingMode::Immediate.into(), ..first.clone() }, "signalling_mode"),
    ] {
        let error = node.client.start_session(other).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::AlreadyExists, Some("START_ARGUMENTS_DIFFER")));
        assert_eq!(metadata(&error, "field").as_deref(), Some(field));
    }
    node.client.end_session(hangup("s1")).await.unwrap();
    assert_eq!(
        node.client.start_session(first).await.unwrap().into_inner().sdp_answer,
        answer,
        "as long as it is held"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_resume_after_a_sequence() {
    let mut node = TestNode::start(|_| {}).await;
    let phone = Phone::ring(Kind::Relay);
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    let mut first = node.events("s1", 0).await;
    let event = next_event(&mut first).await.unwrap();
    assert_eq!(
        (event.call_id.as_str(), event.sequence),
        ("wacid.s1", 0),
        "the call's sequence is not the node's to give"
    );
    assert_eq!(next_sequence(&mut first).await, Some(2));
    drop(first);
    node.client.end_session(hangup("s1")).await.unwrap();
    // The session is over; its events are still there.
    let mut all = Vec::new();
    let mut resumed = node.events("s1", 2).await;
    while let Some(sequence) = next_sequence(&mut resumed).await {
        all.push(sequence);
    }
    let expect: Vec<u64> = (3..3 + all.len() as u64).collect();
    assert_eq!(all, expect, "gapless");
    assert!(!all.is_empty());
    // Whoever has everything gets an empty stream that ends.
    let mut nothing = node.events("s1", *all.last().unwrap()).await;
    assert!(next_event(&mut nothing).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_are_told_why() {
    let mut node = TestNode::start(|_| {}).await;
    let phone = Phone::ring(Kind::Relay);
    let mut start = async |request: StartSessionRequest| node.client.start_session(request).await.unwrap_err();

    let error = start(start_request("s1", "v=0\r\nnonsense")).await;
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::InvalidArgument, Some("SDP_INVALID")));
    assert!(metadata(&error, "rule").is_some());
    let broken = phone.offer.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1");
    let error = start(start_request("s1", &broken)).await;
    assert_eq!(metadata(&error, "rule").as_deref(), Some("no-sha256-fingerprint"));
    let long = "x".repeat(129);
    for session_id in ["", long.as_str()] {
        let error = start(start_request(session_id, &phone.offer)).await;
        assert_eq!(metadata(&error, "field").as_deref(), Some("session_id"));
    }

    let error = node.client.advance_session(advance("nobody", SignallingStage::Accepted)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::NotFound, Some("SESSION_NOT_FOUND")));
    let error = node.client.advance_session(advance("nobody", SignallingStage::Unspecified)).await.unwrap_err();
    assert_eq!(metadata(&error, "field").as_deref(), Some("stage"));
    let request = StreamEventsRequest { session_id: "nobody".into(), after_sequence: 0 };
    let error = node.client.stream_events(request).await.unwrap_err();
    assert_eq!(reason(&error).as_deref(), Some("SESSION_NOT_FOUND"));

    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    let command = |id: &str, kind| SendCommandRequest {
        session_id: "s1".into(),
        command: Some(Command { kind }),
        command_id: id.into(),
    };
    let interrupt = Some(command::Kind::Interrupt(Interrupt {}));
    let error = node.client.send_command(command("c1", None)).await.unwrap_err();
    assert_eq!(metadata(&error, "field").as_deref(), Some("command"));
    for id in ["", "with space", "h\u{e4}", &"x".repeat(65)] {
        let error = node.client.send_command(command(id, interrupt.clone())).await.unwrap_err();
        assert_eq!(metadata(&error, "field").as_deref(), Some("command_id"), "{id}");
    }
    for id in ["c1", "c1", "C-2_", &"x".repeat(64)] {
        node.client.send_command(command(id, interrupt.clone())).await.unwrap();
    }
    let keys = Some(command::Kind::SendDtmf(SendDtmf { digits: "1".into() }));
    let error = node.client.send_command(command("c1", keys)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::AlreadyExists, Some("COMMAND_ID_REUSED")));
    node.client.end_session(hangup("s1")).await.unwrap();
    let error = node.client.advance_session(advance("s1", SignallingStage::Accepted)).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::FailedPrecondition, Some("SESSION_ENDED")));
    let error = node.client.send_command(command("c1", interrupt)).await.unwrap_err();
    assert_eq!(reason(&error).as_deref(), Some("SESSION_ENDED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_run_out_as_node_full() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut node = TestNode::start(|raw| raw.udp_ports = Some(format!("{port}-{port}"))).await;
    let phone = Phone::ring(Kind::Relay);
    let error = node.client.start_session(start_request("s1", &phone.offer)).await.unwrap_err();
    assert_eq!(reason(&error).as_deref(), Some("NODE_FULL"), "somebody else has it");
    drop(taken);
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    let error = node.client.start_session(start_request("s2", &phone.offer)).await.unwrap_err();
    assert_eq!(reason(&error).as_deref(), Some("NODE_FULL"));
    let report = node.client.get_node(GetNodeRequest {}).await.unwrap().into_inner().node.unwrap();
    assert_eq!((report.live_sessions, report.provider.as_str()), (1, "embedded"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_never_connects_is_given_up() {
    let mut node = TestNode::start(|raw| raw.transport_timeout_s = Some("1".into())).await;
    let phone = Phone::ring(Kind::Relay);
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    drop(phone);
    node.client.advance_session(advance("s1", SignallingStage::AnswerDelivered)).await.unwrap();
    let mut events = node.events("s1", 0).await;
    let ended = wait_for(&mut events, |kind| matches!(kind, Event::SessionEnded(_))).await;
    let Some(Event::SessionEnded(ended)) = ended.kind else { unreachable!() };
    assert_eq!(ended.termination.unwrap().reason, "MEDIA_CONNECTION_TIMEOUT");
    let report = node.client.get_node(GetNodeRequest {}).await.unwrap().into_inner().node.unwrap();
    assert_eq!(report.live_sessions, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_in_silence_is_waited_for_as_long_as_the_setting_says() {
    let mut node = TestNode::start(|raw| raw.media_timeout_s = Some("1".into())).await;
    let phone = Phone::ring(Kind::Browser);
    let mut request = start_request("s1", &phone.offer);
    request.signalling_mode = SignallingMode::Immediate.into();
    let started = node.client.start_session(request).await.unwrap().into_inner();
    phone.answer(&started.sdp_answer);
    let mut events = node.events("s1", 0).await;
    let ended = wait_for(&mut events, |kind| matches!(kind, Event::SessionEnded(_))).await;
    let Some(Event::SessionEnded(ended)) = ended.kind else { unreachable!() };
    let termination = ended.termination.unwrap();
    assert_eq!(termination.reason, "MEDIA_TIMEOUT", "{}", termination.message);
    assert!(ended.statistics.unwrap().packets_sent > 0, "the transport was up, and the caller heard us");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_ends_the_session_with_its_code() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let provider = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/realtime", provider.local_addr().unwrap());
    let mut node = TestNode::start(|raw| {
        raw.openai_api_key = Some("sk-secret".into());
        raw.openai_model = Some("gpt-5-realtime".into());
        raw.openai_url = Some(url);
    })
    .await;
    let phone = Phone::ring(Kind::Relay);
    let mut request = start_request("s1", &phone.offer);
    request.caller = Some(Caller { phone_number: "15550001234".into(), ..Caller::default() });
    node.client.start_session(request).await.unwrap();

    // The socket opens while the call is still being answered.
    let (mut stream, _) = provider.accept().await.unwrap();
    let mut upgrade = vec![0; 4_096];
    let length = stream.read(&mut upgrade).await.unwrap();
    let upgrade = String::from_utf8_lossy(&upgrade[..length]).to_ascii_lowercase();
    assert!(upgrade.starts_with("get /v1/realtime?model=gpt-5-realtime http/1.1"), "{upgrade}");
    assert!(upgrade.contains("authorization: bearer sk-secret"), "{upgrade}");
    assert!(upgrade.contains("openai-safety-identifier: "), "{upgrade}");
    assert!(!upgrade.contains("openai-beta") && !upgrade.contains("15550001234"), "{upgrade}");
    let body = r#"{"error":{"type":"invalid_request_error","code":"model_not_found","message":"no such model"}}"#;
    let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();

    let mut events = node.events("s1", 0).await;
    let ended = wait_for(&mut events, |kind| matches!(kind, Event::SessionEnded(_))).await;
    let Some(Event::SessionEnded(ended)) = ended.kind else { unreachable!() };
    let termination = ended.termination.unwrap();
    assert_eq!(termination.reason, "PROVIDER_SESSION_FAILED");
    assert_eq!(termination.upstream_code, "model_not_found");
    assert!(termination.message.contains("gpt-realtime-2.1"), "{}", termination.message);
}

/// What is no media of its caller's, sent to the port of a call from elsewhere: a thousand datagrams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_counted_where_it_comes_and_heard_by_nobody() {
    let mut node = TestNode::start(|_| {}).await;
    let mut calls = Vec::new();
    for session_id in ["s1", "s2"] {
        let phone = Phone::ring(Kind::Browser);
        let mut request = start_request(session_id, &phone.offer);
        request.signalling_mode = SignallingMode::Immediate.into();
        let started = node.client.start_session(request).await.unwrap().into_inner();
        phone.answer(&started.sdp_answer);
        let mut events = node.events(session_id, 0).await;
        wait_for(
            &mut events,
            |kind| matches!(kind, Event::StageReached(reached) if reached.stage() == Stage::MediaBridgeActive),
        )
        .await;
        let port = attribute(&started.sdp_answer, "candidate").unwrap().split(' ').nth(5).unwrap();
        calls.push((session_id, phone, events, format!("127.0.0.1:{port}")));
    }
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let garbage: [&[u8]; 5] = [
        &[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0x5a, 0x5a, 0x5a, 0x5a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        &[0x80, 0, 0, 1],
        &[0x81, 201, 0xff, 0xff, 0, 0, 0, 1],
        &[0x80; 1_400],
        &[255; 60],
    ];
    calls.iter().for_each(|(_, phone, ..)| phone.speak(vec![vec![0xf8, 0xff, 0xfe]; 100]));
    // No more at a time than the kernel holds for a node that is late.
    for round in 1..=4_u64 {
        for bytes in garbage.into_iter().cycle().take(250) {
            stranger.send_to(bytes, &calls[0].3).unwrap();
        }
        counted(&mut node, "s1", |counters| counters.packets_discarded >= 250 * round).await;
    }
    for (session_id, mut phone, mut events, _) in calls {
        for pair in phone.hear(100).await.windows(2) {
            assert_eq!(pair[1].1.header.sequence_number, pair[0].1.header.sequence_number.wrapping_add(1));
        }
        // A busy machine may be late with some; none is missing.
        counted(&mut node, session_id, |counters| counters.packets_received + counters.packets_late >= 100).await;
        node.client.end_session(hangup(session_id)).await.unwrap();
        let ended = wait_for(&mut events, |kind| matches!(kind, Event::SessionEnded(_))).await;
        let Some(Event::SessionEnded(ended)) = ended.kind else { unreachable!() };
        let statistics = ended.statistics.unwrap();
        let came = statistics.packets_received + statistics.packets_late;
        assert_eq!((came, statistics.packets_lost), (100, 0), "{session_id}: {statistics:?}");
        let garbage = if session_id == "s1" { 1_000 } else { 0 };
        assert_eq!(statistics.packets_discarded, garbage, "{session_id}: {statistics:?}");
    }
}

/// Waits until the counters of a session show this; they are renewed once a second.
async fn counted(node: &mut TestNode, session_id: &str, mut enough: impl FnMut(&MediaStatistics) -> bool) {
    let mut last = None;
    let looking = async {
        loop {
            let request = GetSessionRequest { session_id: session_id.into() };
            let session = node.client.get_session(request).await.unwrap().into_inner().session.unwrap();
            if session.statistics.as_ref().is_some_and(&mut enough) {
                return;
            }
            last = session.statistics;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, looking).await.is_ok();
    assert!(in_time, "{session_id}: {last:?}");
}
