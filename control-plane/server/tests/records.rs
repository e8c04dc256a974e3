//! What is kept of a call: while it runs, how it is kept, and for how long.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Graph, Node, Plane, Reply, connect, plane, system, terminate};
use voicebridge_proto::{
    control::v1::CallPhase,
    types::v1::{self as types, event::Kind},
};

#[tokio::test]
async fn a_live_call_has_its_latest_statistics_and_the_usage_so_far() {
    let (_, plane, node) = system().await;
    plane.deliver(&[connect("live")]).await;
    plane.phase("live", CallPhase::Active).await;
    let session = node.session("live", "session", |_| true).await.session_id;
    let counted = |packets_received| {
        let statistics = types::MediaStatistics { packets_received, jitter_ms: 7, ..Default::default() };
        Kind::StatisticsReported(types::StatisticsReported { statistics: Some(statistics) })
    };
    let reply = |tokens| {
        Kind::ResponseFinished(types::ResponseFinished {
            usage: Some(types::Usage {
                output_audio_tokens: tokens,
                input_text_tokens: 1,
                cached_text_tokens: 3,
                cached_audio_tokens: 4,
                provider: "openai".to_owned(),
                model: "m".to_owned(),
                transcription_model: "t".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        })
    };
    for kind in [counted(50), reply(100), counted(300), reply(20)] {
        node.emit(&session, kind);
    }
    let call = support::until("the statistics are there", || async {
        let call = plane.call("live").await.unwrap();
        let usage = call.usage.clone()?;
        (call.statistics.as_ref().is_some_and(|statistics| statistics.packets_received == 300)
            && usage.output_audio_tokens == 120)
            .then_some(call)
    })
    .await;
    let usage = call.usage.clone().unwrap();
    assert_eq!((usage.input_text_tokens, usage.cached_text_tokens, usage.cached_audio_tokens), (2, 6, 8));
    assert_eq!([&*usage.provider, &*usage.model, &*usage.transcription_model], ["openai", "m", "t"]);
    let (_, session_info) = plane.get("/sessions/live").await;
    assert_eq!(session_info["statistics"]["packetsReceived"], 300, "{session_info}");
    assert_eq!(session_info["statistics"]["jitterMs"], 7);
    assert_eq!(session_info["usage"]["outputAudioTokens"], 120);
    assert_eq!(
        (&session_info["usage"]["cachedAudioTokens"], &session_info["usage"]["model"]),
        (&8.into(), &"m".into())
    );
    // Afterwards what the session's end says, which has everything.
    plane.deliver(&[terminate("live")]).await;
    let call = plane.phase("live", CallPhase::Ended).await;
    assert_ne!(call.statistics.map(|statistics| statistics.packets_received), Some(300));
}

#[tokio::test]
async fn an_answer_of_graph_that_says_nothing_is_taken_and_noted() {
    let (graph, plane, _node) = system().await;
    graph.script("pre_accept", &[Reply::Bare(200)]);
    plane.deliver(&[connect("odd")]).await;
    plane.phase("odd", CallPhase::Active).await;
    plane.deliver(&[terminate("odd")]).await;
    plane.ended("odd").await;
    let details: Vec<_> = plane
        .events("odd", "")
        .await
        .into_iter()
        .filter_map(|event| match event.kind {
            Some(Kind::GraphAnswered(answered)) => Some((answered.action(), answered.error_details)),
            _ => None,
        })
        .collect();
    let noted = "taken as success: the answer was no JSON".to_owned();
    assert_eq!(details, [(types::GraphAction::PreAccept, noted), (types::GraphAction::Accept, String::new())]);
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_stored_is_for_its_owner_only() {
    let (_, plane, _node) = system().await;
    plane.deliver(&[connect("private")]).await;
    plane.phase("private", CallPhase::Active).await;
    let modes = plane.stored_modes();
    assert!(modes.len() >= 3, "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[tokio::test]
async fn ended_calls_are_forgotten_after_their_time_and_live_ones_are_not() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.retention = std::time::Duration::from_millis(1);
    config.limits.retention_round = std::time::Duration::from_millis(20);
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    plane.deliver(&[connect("stays"), connect("goes")]).await;
    plane.phase("stays", CallPhase::Active).await;
    plane.phase("goes", CallPhase::Active).await;
    plane.deliver(&[terminate("goes")]).await;
    support::until("the call is forgotten", || async { plane.call("goes").await.err() }).await;
    assert_eq!(plane.get("/sessions/goes").await.1["reason"], "CALL_NOT_FOUND");
    assert_eq!(plane.call("stays").await.unwrap().phase(), CallPhase::Active);
}

#[tokio::test]
async fn what_meta_sends_along_is_kept_and_told_to_the_node() {
    let (_, plane, node) = system().await;
    let of = |call: &voicebridge_proto::control::v1::Call| {
        [call.deeplink_payload.clone(), call.cta_payload.clone(), call.biz_opaque_callback_data.clone()]
    };
    let mut begin = connect("linked");
    begin["deeplink_payload"] = "campaign-7\n\u{202e}".into();
    begin["cta_payload"] = "btn-42".into();
    plane.deliver(&[begin]).await;
    let call = plane.phase("linked", CallPhase::Active).await;
    assert_eq!(of(&call), ["campaign-7", "btn-42", ""]);
    assert_eq!(node.session("linked", "session", |_| true).await.payloads, ["campaign-7", "btn-42", ""]);
    let mut end = terminate("linked");
    end["deeplink_payload"] = "another".into();
    end["biz_opaque_callback_data"] = "job-9".into();
    for _ in 0..2 {
        plane.deliver(&[end.clone()]).await;
    }
    let call = plane.phase("linked", CallPhase::Ended).await;
    assert_eq!(of(&call), ["campaign-7", "btn-42", "job-9"]);

    let request = voicebridge_proto::control::v1::StartSessionRequest {
        call_id: "self".to_owned(),
        sdp_offer: "v=0\r\ns=self\r\n".to_owned(),
        deeplink_payload: "x".repeat(600),
        biz_opaque_callback_data: "job-10".to_owned(),
        ..Default::default()
    };
    plane.client().await.start_session(request).await.unwrap();
    let told = ["x".repeat(512), String::new(), "job-10".to_owned()];
    assert_eq!(of(&plane.call("self").await.unwrap()), told);
    assert_eq!(node.session("self", "session", |_| true).await.payloads, told);
}
