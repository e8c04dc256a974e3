//! Deliveries as Meta makes them: signed, batched, doubled, out of order, late, and as nobody should make them.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{
    Graph, NUMBER_ID, Node, Plane, VERIFY_TOKEN, connect, connect_at, delivery, now_s, plane, sign, system, terminate,
    terminate_failed,
};
use tonic::{Code, Request, Status};
use voicebridge_proto::{
    control::v1::{
        CallPhase, CallerAgent, HandleWebhookRequest, HandleWebhookResponse, ListCallsRequest, WebhookOutcome,
    },
    types::v1::Agent,
};
use voicebridge_telemetry::status::reason;

async fn known(plane: &Plane) -> Vec<String> {
    let calls = plane.client().await.list_calls(ListCallsRequest::default()).await.unwrap().into_inner().calls;
    calls.into_iter().map(|call| call.wacid).collect()
}

async fn outcomes(plane: &Plane, calls: &[Value]) -> Vec<String> {
    let body = delivery(calls);
    let request = HandleWebhookRequest { signature: sign(&body), body: body.into_bytes(), ..Default::default() };
    let taken = plane.client().await.handle_webhook(request).await.unwrap().into_inner();
    let word =
        |outcome: &WebhookOutcome| outcome.outcome().as_str_name().trim_start_matches("NOTICE_OUTCOME_").to_lowercase();
    taken.outcomes.iter().map(|outcome| format!("{} {}", outcome.wacid, word(outcome))).collect()
}

#[tokio::test]
async fn meta_verifies_the_address() {
    let (_, plane, _node) = system().await;
    let ask = async |query: &str| {
        let response = plane.http.get(format!("{}/webhooks/whatsapp?{query}", plane.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let good = format!("hub.mode=subscribe&hub.challenge=1158863600&hub.verify_token={VERIFY_TOKEN}");
    assert_eq!(ask(&good).await, (200, "1158863600".to_owned()));
    for bad in [
        good.replace(VERIFY_TOKEN, "guess"),
        good.replace("subscribe", "unsubscribe"),
        "hub.mode=subscribe&hub.challenge=1".to_owned(),
        String::new(),
    ] {
        assert_eq!(ask(&bad).await.0, 403, "{bad}");
    }
}

#[tokio::test]
async fn what_is_not_signed_by_meta_changes_nothing() {
    let (graph, plane, _node) = system().await;
    plane.deliver(&[connect("live")]).await;
    plane.phase("live", CallPhase::Active).await;
    let (forged, hangup) = (delivery(&[connect("forged")]), delivery(&[terminate("live")]));
    for body in [&forged, &hangup] {
        let good = sign(body);
        for signature in [None, Some("sha256="), Some("sha256=00"), Some(&good[7..]), Some(sign("other").as_str())] {
            let response = plane.deliver_raw(body, signature).await;
            assert_eq!(response.status(), 401, "{signature:?}");
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["reason"], "WEBHOOK_SIGNATURE_INVALID");
        }
    }
    let request = HandleWebhookRequest { body: hangup.into_bytes(), signature: String::new(), ..Default::default() };
    let status = plane.client().await.handle_webhook(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert_eq!(voicebridge_telemetry::status::reason(&status).as_deref(), Some("WEBHOOK_SIGNATURE_INVALID"));
    assert_eq!(known(&plane).await, ["live"]);
    assert_eq!(plane.call("live").await.unwrap().phase(), CallPhase::Active);
    assert_eq!(graph.actions("live"), ["pre_accept", "accept"]);
}

#[tokio::test]
async fn bodies_that_are_none() {
    let (_, plane, _node) = system().await;
    for (body, expect) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("\"x\"", 400),
        ("{}", 200),
        (r#"{"object":"page","entry":[{"changes":[{"field":"feed","value":{"new":1}}]}]}"#, 200),
        (r#"{"entry":[{"changes":[{"field":"calls","value":{"calls":[{"id":"x","event":"call_created"}]}}]}]}"#, 200),
    ] {
        let response = plane.deliver_raw(body, Some(&sign(body))).await;
        assert_eq!(response.status(), expect, "{body}");
        if expect == 400 {
            assert_eq!(response.json::<Value>().await.unwrap()["reason"], "WEBHOOK_MALFORMED");
        }
    }
    let limit = plane.config.limits.max_body_bytes;
    let large = format!("{{\"pad\":\"{}\"}}", "x".repeat(limit));
    assert_eq!(plane.deliver_raw(&large, Some(&sign(&large))).await.status(), 413);
    assert!(known(&plane).await.is_empty());
}

/// "Payload size can be up to 3 MB": Meta, "Webhooks" of the WhatsApp Business Platform.
#[tokio::test]
async fn a_delivery_as_large_as_metas_largest_is_taken_over_http_and_grpc() {
    const LARGEST: usize = 3 * 1024 * 1024;
    let (_, plane, _node) = system().await;
    let of_size = |call_id: &str, size: usize| {
        let whole = delivery(&[connect(call_id)]);
        let messages = |length| format!(r#"{{"field":"messages","value":{{"pad":"{}"}}}},"#, "x".repeat(length));
        let padding = size - whole.len() - messages(0).len();
        whole.replacen("\"changes\":[", &format!("\"changes\":[{}", messages(padding)), 1)
    };
    let body = of_size("http", LARGEST);
    assert_eq!(body.len(), LARGEST);
    assert_eq!(plane.deliver_raw(&body, Some(&sign(&body))).await.status(), 200);
    plane.phase("http", CallPhase::Active).await;
    let body = of_size("grpc", LARGEST);
    let request = HandleWebhookRequest { signature: sign(&body), body: body.into_bytes(), ..Default::default() };
    let taken = plane.client().await.handle_webhook(request).await.unwrap().into_inner();
    let call = plane.phase("grpc", CallPhase::Active).await;
    let outcome = taken.outcomes.iter().find(|outcome| outcome.wacid == "grpc").unwrap();
    assert_eq!(outcome.call_id, call.call_id);
}

#[tokio::test]
async fn a_name_cut_in_the_middle_of_an_emoji_does_not_cost_the_call_and_the_signature_is_over_what_came() {
    let (_, plane, _node) = system().await;
    let body = delivery(&[connect("cut")]).replace('\u{e1}', r"\ud83d\u0000\u202e");
    let mended = body.replace(r"\ud83d", r"\ufffd");
    assert_eq!(plane.deliver_raw(&body, Some(&sign(&mended))).await.status(), 401);
    assert_eq!(plane.deliver_raw(&body, Some(&sign(&body))).await.status(), 200);
    assert_eq!(plane.phase("cut", CallPhase::Active).await.caller.unwrap().name, "An\u{fffd}");
}

#[tokio::test]
async fn the_signature_is_over_the_bytes_as_received() {
    let (_, plane, _node) = system().await;
    // As Meta writes it: escaped, which parsing and writing again would change.
    let body = delivery(&[connect("escaped")]).replace('\u{e1}', "\\u00e1");
    assert!(body.contains("An\\u00e1"));
    assert_eq!(plane.deliver_raw(&body, Some(&sign(&body))).await.status(), 200);
    let call = plane.phase("escaped", CallPhase::Active).await;
    assert_eq!(call.caller.unwrap().name, "Aná");
    assert_eq!(call.phone_number_id, NUMBER_ID);
}

#[tokio::test]
async fn one_call_however_often_it_is_delivered() {
    let (graph, plane, node) = system().await;
    let same: Vec<_> = (0..8).map(|_| [connect("again")]).collect();
    let statuses = futures_util::future::join_all(same.iter().map(|calls| plane.deliver(calls))).await;
    assert_eq!(statuses, [200; 8]);
    plane.phase("again", CallPhase::Active).await;
    assert_eq!(outcomes(&plane, &[connect("again")]).await, ["again duplicate"]);
    assert_eq!(node.sessions().len(), 1);
    assert_eq!(graph.actions("again"), ["pre_accept", "accept"]);
    plane.deliver(&[terminate("again")]).await;
    plane.ended("again").await;
    assert_eq!(outcomes(&plane, &[connect("again"), terminate("again")]).await, ["again duplicate", "again duplicate"]);
    assert_eq!(graph.actions("again"), ["pre_accept", "accept"]);
}

#[tokio::test]
async fn a_batch_is_many_calls() {
    let (graph, plane, node) = system().await;
    let taken =
        outcomes(&plane, &[connect("a"), connect("b"), json!({"id": "c", "event": "news"}), connect("d")]).await;
    assert_eq!(taken, ["a claimed", "b claimed", "c ignored", "d claimed"]);
    for id in ["a", "b", "d"] {
        plane.phase(id, CallPhase::Active).await;
    }
    assert_eq!(node.sessions().len(), 3);
    // Beginning and end in one delivery: over before it was placed or soon after, but not before Graph has answered.
    graph.hold();
    let taken = outcomes(&plane, &[connect("e"), terminate("e"), terminate("a")]).await;
    graph.release();
    assert_eq!(taken, ["e claimed", "e terminated", "a terminated"]);
    assert_eq!(plane.ended("e").await.1, "CALLER_ABANDONED");
    assert_eq!(plane.ended("a").await.1, "USER_HANGUP");
    assert!(
        node.sessions().iter().all(|session| session.ended.is_some() || ["b", "d"].contains(&session.name.as_str()))
    );
}

#[tokio::test]
async fn an_end_that_comes_first_prevents_the_beginning() {
    let (graph, plane, node) = system().await;
    assert_eq!(outcomes(&plane, &[terminate_failed("x", 138_021)]).await, ["x tombstoned"]);
    assert_eq!(outcomes(&plane, &[connect("x")]).await, ["x tombstoned"]);
    assert_eq!(outcomes(&plane, &[connect("x"), connect("y")]).await, ["x tombstoned", "y claimed"]);
    plane.phase("y", CallPhase::Active).await;
    assert_eq!(node.sessions().len(), 1);
    assert!(graph.actions("x").is_empty());
    assert_eq!(known(&plane).await, ["y"]);
}

#[tokio::test]
async fn stale_calls_are_dropped() {
    let (graph, plane, node) = system().await;
    let calls = [connect_at("old", now_s() - 62), connect_at("ahead", now_s() + 3_600)];
    assert_eq!(outcomes(&plane, &calls).await, ["old stale", "ahead claimed"]);
    plane.phase("ahead", CallPhase::Active).await;
    assert_eq!(node.sessions().len(), 1);
    assert!(graph.actions("old").is_empty());
    assert_eq!(known(&plane).await, ["ahead"]);
}

#[tokio::test]
async fn calls_to_other_numbers_are_passed_over() {
    let (graph, plane, _node) = system().await;
    let body = delivery(&[connect("other")]).replace(NUMBER_ID, "999");
    assert_eq!(plane.deliver_raw(&body, Some(&sign(&body))).await.status(), 200);
    assert!(known(&plane).await.is_empty());
    assert!(graph.actions("other").is_empty());
}

#[tokio::test]
async fn without_metas_values_only_the_webhook_is_missing() {
    let mut config = plane::config("http://127.0.0.1:9/v25.0");
    config.whatsapp = Err(vec!["WHATSAPP_APP_SECRET"]);
    let plane = Plane::start_with(config).await;
    let body = delivery(&[connect("x")]);
    let response = plane.deliver_raw(&body, Some(&sign(&body))).await;
    assert_eq!(response.status(), 503);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["reason"], "WHATSAPP_NOT_CONFIGURED");
    assert!(answer["message"].as_str().unwrap().contains("WHATSAPP_APP_SECRET"), "{answer}");
    let query = "hub.mode=subscribe&hub.challenge=1&hub.verify_token=x";
    assert_eq!(plane.get(&format!("/webhooks/whatsapp?{query}")).await.0, 503);
    assert_eq!(plane.get("/health").await.0, 200);
    assert_eq!(plane.get("/sessions").await, (200, json!({"count": 0, "sessions": []})));
}

#[tokio::test]
async fn an_agent_given_along_is_for_the_calls_the_delivery_begins_and_wants_a_key() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    let keys = voicebridge_server::RawConfig {
        api_keys: Some("writer=calls:write,reader=calls:read".to_owned()),
        ..voicebridge_server::RawConfig::default()
    };
    config.api_keys = voicebridge_server::Config::resolve(keys).unwrap().api_keys;
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    let agent = Agent {
        instructions: "Be brief, {{name}}.".to_owned(),
        variables: [("name".to_owned(), "Ana".to_owned())].into(),
        ..Agent::default()
    };
    let handle = async |calls: &[Value],
                        agent: Option<Agent>,
                        key: &str,
                        signed: bool|
           -> Result<HandleWebhookResponse, Status> {
        let body = delivery(calls);
        let signature = if signed { sign(&body) } else { sign("another") };
        let mut request =
            Request::new(HandleWebhookRequest { signature, body: body.into_bytes(), agent, ..Default::default() });
        if !key.is_empty() {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        plane.client().await.handle_webhook(request).await.map(tonic::Response::into_inner)
    };
    handle(&[connect("a"), connect("b")], Some(agent.clone()), "writer", true).await.unwrap();
    for call_id in ["a", "b"] {
        assert_eq!(node.session(call_id, "session", |_| true).await.agent.as_ref(), Some(&agent));
    }
    handle(&[connect("c")], None, "", true).await.unwrap();
    assert_eq!(node.session("c", "session", |_| true).await.agent, None, "the signature is all it needs");

    let too_many = (0..33).map(|n| (n.to_string(), String::new())).collect();
    let bad = Agent { variables: too_many, ..Agent::default() };
    for (agent, key, signed, code, why) in [
        (agent.clone(), "", true, Code::Unauthenticated, "UNAUTHENTICATED"),
        (agent.clone(), "guess", true, Code::Unauthenticated, "UNAUTHENTICATED"),
        (agent.clone(), "reader", true, Code::PermissionDenied, "SCOPE_MISSING"),
        (agent, "writer", false, Code::Unauthenticated, "WEBHOOK_SIGNATURE_INVALID"),
        (bad, "writer", true, Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        let status = handle(&[connect("d")], Some(agent), key, signed).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(why)), "{key}");
    }
    assert!(node.sessions().iter().all(|session| session.name != "d"));
}

#[tokio::test]
async fn one_delivery_with_several_callers_gives_each_its_own_agent() {
    let (_graph, plane, node) = system().await;
    let from = |call_id: &str, number: &str, user_id: &str| {
        let mut call = connect(call_id);
        (call["from"], call["from_user_id"]) = (number.into(), user_id.into());
        call
    };
    let speaks = |language: &str| Some(Agent { language: language.to_owned(), ..Agent::default() });
    let body = delivery(&[
        from("ana", "5511900000001", "BR.1"),
        from("ben", "5511900000002", "BR.2"),
        from("eva", "5511900000003", "BR.3"),
        from("eve", "5511900000004", "BR.4"),
    ]);
    let request = HandleWebhookRequest {
        signature: sign(&body),
        body: body.into_bytes(),
        agent: speaks("en"),
        agents: vec![
            CallerAgent { phone_number: "+55 11 90000-0001".to_owned(), agent: speaks("pt"), ..Default::default() },
            CallerAgent { user_id: "BR.2".to_owned(), agent: speaks("es"), ..Default::default() },
            CallerAgent { phone_number: "5511900000003".to_owned(), ..Default::default() },
            CallerAgent { phone_number: "5511900000001".to_owned(), agent: speaks("de"), ..Default::default() },
        ],
        ..Default::default()
    };
    plane.client().await.handle_webhook(request).await.unwrap();
    for (call_id, expect) in [("ana", speaks("pt")), ("ben", speaks("es")), ("eva", None), ("eve", speaks("en"))] {
        assert_eq!(node.session(call_id, "session", |_| true).await.agent, expect, "{call_id}");
    }
    let body = delivery(&[connect("late")]);
    let mistaken = HandleWebhookRequest {
        signature: sign(&body),
        body: body.into_bytes(),
        agents: vec![CallerAgent { agent: speaks("pt"), ..Default::default() }],
        ..Default::default()
    };
    let refused = plane.client().await.handle_webhook(mistaken).await.unwrap_err();
    let violation = ("agents[0]".to_owned(), "must name a caller or a number".to_owned());
    assert_eq!(voicebridge_telemetry::status::details(&refused).violations, [violation]);
}
