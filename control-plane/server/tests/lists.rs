//! Lists over the API: calls by filter, order and view, what was said on one, and pages of either.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use prost_types::Timestamp;
use support::{Plane, connect, delivery, system, terminate};
use tonic::{Code, Status};
use voicebridge_proto::{
    control::v1::{
        CallFilter, CallOrder, CallPhase, CallState, CallView, EndCallRequest, EndReason, HandleWebhookRequest,
        ListCallsRequest, ListTranscriptsRequest, StartSessionRequest, UpdateCallLabelsRequest,
    },
    types::v1::{Caller, TerminationResult, Transcript, event::Kind},
};
use voicebridge_telemetry::status::{metadata, reason};

async fn start(plane: &Plane, call_id: &str, phone_number_id: &str, caller: &str) {
    let request = StartSessionRequest {
        call_id: call_id.to_owned(),
        sdp_offer: format!("v=0\r\ns={call_id}\r\n"),
        caller: Some(Caller { phone_number: caller.to_owned(), ..Default::default() }),
        phone_number_id: phone_number_id.to_owned(),
        ..StartSessionRequest::default()
    };
    plane.client().await.start_session(request).await.unwrap();
}

async fn end(plane: &Plane, call_id: &str) {
    let request = EndCallRequest { call_id: call_id.to_owned(), reason: EndReason::ApiHangup.into() };
    plane.client().await.end_call(request).await.unwrap();
    plane.phase(call_id, CallPhase::Ended).await;
}

/// Three calls of two numbers, of which one has ended.
async fn three() -> (support::Graph, Plane, support::Node) {
    let (graph, plane, node) = system().await;
    start(&plane, "one", "106", "551").await;
    start(&plane, "two", "107", "552").await;
    start(&plane, "three", "106", "551").await;
    end(&plane, "one").await;
    (graph, plane, node)
}

async fn list(plane: &Plane, request: &ListCallsRequest) -> Result<(Vec<String>, String), Status> {
    let answer = plane.client().await.list_calls(request.clone()).await?.into_inner();
    Ok((answer.calls.into_iter().map(|call| call.wacid).collect(), answer.next_page_token))
}

fn asked(filter: CallFilter) -> ListCallsRequest {
    ListCallsRequest { filter: Some(filter), ..ListCallsRequest::default() }
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test]
async fn calls_are_found_by_what_is_known_of_them() {
    let (_graph, plane, _node) = three().await;
    let none = CallFilter::default;
    let result = plane.call("one").await.unwrap().termination.unwrap().result;
    let now = Timestamp::from(std::time::SystemTime::now());
    let an_hour_ago = Timestamp { seconds: now.seconds - 3_600, ..now };
    for (filter, expect) in [
        (none(), &["three", "two", "one"] as &[_]),
        (CallFilter { phone_number_ids: texts(&["106"]), ..none() }, &["three", "one"]),
        (CallFilter { caller_phone_numbers: texts(&["+55 2"]), ..none() }, &["two"]),
        (CallFilter { caller_user_ids: texts(&["BR.1"]), ..none() }, &[]),
        (CallFilter { results: vec![result], ..none() }, &["one"]),
        (CallFilter { results: vec![TerminationResult::Failed.into()], ..none() }, &[]),
        (CallFilter { reasons: texts(&["API_HANGUP"]), ..none() }, &["one"]),
        (CallFilter { node_ids: texts(&["node-1", "node-2"]), ..none() }, &["three", "two", "one"]),
        (CallFilter { node_ids: texts(&["node-2"]), ..none() }, &[]),
        (CallFilter { state: CallState::Live.into(), ..none() }, &["three", "two"]),
        (CallFilter { state: CallState::Ended.into(), ..none() }, &["one"]),
        (
            CallFilter { received_from: Some(an_hour_ago), received_before: Some(now), ..none() },
            &["three", "two", "one"],
        ),
        (CallFilter { received_before: Some(an_hour_ago), ..none() }, &[]),
        (CallFilter { phone_number_ids: texts(&["106"]), state: CallState::Live.into(), ..none() }, &["three"]),
    ] {
        let (names, next) = list(&plane, &asked(filter.clone())).await.unwrap();
        assert_eq!((names, next.as_str()), (texts(expect), ""), "{filter:?}");
    }
}

#[tokio::test]
async fn a_page_token_is_for_its_filter_and_order_only() {
    let (_graph, plane, _node) = three().await;
    let first = ListCallsRequest {
        page_size: 1,
        ..asked(CallFilter { phone_number_ids: texts(&["106", "107"]), ..Default::default() })
    };
    let mut names = Vec::new();
    let mut request = first.clone();
    loop {
        let (page, next) = list(&plane, &request).await.unwrap();
        names.extend(page);
        if next.is_empty() {
            break;
        }
        // Neither size nor view is part of the list, nor the order in which values are given.
        request = ListCallsRequest { page_token: next, page_size: 1, view: CallView::Full.into(), ..first.clone() };
        request.filter.as_mut().unwrap().phone_number_ids = texts(&["107", "106", "107"]);
    }
    assert_eq!(names, ["three", "two", "one"]);

    let (_, token) = list(&plane, &first).await.unwrap();
    let with = |filter: CallFilter, order: CallOrder| ListCallsRequest {
        page_token: token.clone(),
        order: order.into(),
        ..asked(filter)
    };
    let filter = first.filter.clone().unwrap();
    for other in [
        with(CallFilter::default(), CallOrder::NewestFirst),
        with(CallFilter { state: CallState::Live.into(), ..filter.clone() }, CallOrder::NewestFirst),
        with(CallFilter { phone_number_ids: texts(&["106"]), ..filter.clone() }, CallOrder::NewestFirst),
        with(filter.clone(), CallOrder::OldestFirst),
        ListCallsRequest { page_token: "3".to_owned(), ..first.clone() },
    ] {
        let status = list(&plane, &other).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status).as_deref(), Some("PAGE_TOKEN_INVALID"), "{other:?}");
    }
    let oldest = ListCallsRequest { order: CallOrder::OldestFirst.into(), page_size: 2, ..first };
    let (names, next) = list(&plane, &oldest).await.unwrap();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(list(&plane, &ListCallsRequest { page_token: next, ..oldest }).await.unwrap().0, ["three"]);
}

#[tokio::test]
async fn a_basic_view_has_nothing_of_the_events_and_a_full_one_all() {
    let (_graph, plane, _node) = three().await;
    let mut client = plane.client().await;
    let mut calls = async |view: CallView| {
        let request = ListCallsRequest { view: view.into(), ..ListCallsRequest::default() };
        client.list_calls(request).await.unwrap().into_inner().calls
    };
    for call in calls(CallView::Unspecified).await {
        assert!(call.timeline.is_empty() && call.usage.is_none() && call.statistics.is_none(), "{call:?}");
    }
    let full = calls(CallView::Full).await;
    assert!(full.iter().all(|call| !call.timeline.is_empty()), "{full:?}");
    assert!(full[2].usage.is_some() && full[2].statistics.is_some(), "{full:?}");
    let too_many = ListCallsRequest { view: CallView::Full.into(), page_size: 101, ..Default::default() };
    let status = client.list_calls(too_many).await.unwrap_err();
    assert_eq!(metadata(&status, "field").as_deref(), Some("page_size"));
}

#[tokio::test]
async fn what_no_call_can_be_searched_for_is_refused_by_its_field() {
    let (_graph, plane, _node) = system().await;
    let none = CallFilter::default;
    let many = |value: &str| vec![value.to_owned(); 17];
    for (filter, field) in [
        (CallFilter { phone_number_ids: many("1"), ..none() }, "filter.phone_number_ids"),
        (CallFilter { phone_number_ids: texts(&[""]), ..none() }, "filter.phone_number_ids"),
        (CallFilter { phone_number_ids: vec!["1".repeat(65)], ..none() }, "filter.phone_number_ids"),
        (CallFilter { caller_phone_numbers: many("1"), ..none() }, "filter.caller_phone_numbers"),
        (CallFilter { caller_phone_numbers: texts(&["Ana"]), ..none() }, "filter.caller_phone_numbers"),
        (CallFilter { caller_user_ids: many("BR.1"), ..none() }, "filter.caller_user_ids"),
        (CallFilter { caller_user_ids: texts(&["BR\u{0}1"]), ..none() }, "filter.caller_user_ids"),
        (CallFilter { results: vec![1; 17], ..none() }, "filter.results"),
        (CallFilter { results: vec![0], ..none() }, "filter.results"),
        (CallFilter { results: vec![99], ..none() }, "filter.results"),
        (CallFilter { reasons: many("X"), ..none() }, "filter.reasons"),
        (CallFilter { node_ids: many("n"), ..none() }, "filter.node_ids"),
        (CallFilter { state: 99, ..none() }, "filter.state"),
        (CallFilter { received_from: Some(Timestamp { seconds: 0, nanos: -1 }), ..none() }, "filter.received_from"),
        (
            CallFilter { received_before: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..none() },
            "filter.received_before",
        ),
    ] {
        let status = list(&plane, &asked(filter.clone())).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{filter:?}");
        assert_eq!(metadata(&status, "field").as_deref(), Some(field), "{filter:?}");
    }
    for (request, field) in [
        (ListCallsRequest { order: 9, ..Default::default() }, "order"),
        (ListCallsRequest { view: 9, ..Default::default() }, "view"),
        (ListCallsRequest { page_size: 1_001, ..Default::default() }, "page_size"),
    ] {
        assert_eq!(metadata(&list(&plane, &request).await.unwrap_err(), "field").as_deref(), Some(field));
    }
}

#[tokio::test]
async fn managed_calls_are_found_by_their_caller_under_either_name() {
    let (_graph, plane, _node) = system().await;
    plane.deliver(&[connect("wa")]).await;
    plane.phase("wa", CallPhase::Active).await;
    for filter in [
        CallFilter { caller_phone_numbers: texts(&["5511900000001"]), ..Default::default() },
        CallFilter { caller_user_ids: texts(&["BR.13000000000000001"]), ..Default::default() },
        CallFilter {
            caller_user_ids: texts(&["BR.13000000000000001"]),
            caller_phone_numbers: texts(&["5511900000001"]),
            ..Default::default()
        },
    ] {
        assert_eq!(list(&plane, &asked(filter)).await.unwrap().0, ["wa"]);
    }
}

#[tokio::test]
async fn what_was_said_comes_in_pages_while_a_call_lives_and_afterwards() {
    let (_graph, plane, node) = system().await;
    for name in ["talks", "other"] {
        plane.deliver(&[connect(name)]).await;
        plane.phase(name, CallPhase::Active).await;
    }
    let session = node.session("talks", "session", |_| true).await.session_id;
    let words: Vec<String> = (0..5).map(|n| format!("word {n}")).collect();
    for text in words.iter().cloned() {
        node.emit(&session, Kind::Transcript(Transcript { text, ..Transcript::default() }));
    }
    plane.said("talks", 5).await;
    let mut client = plane.client().await;
    for ended in [false, true] {
        if ended {
            plane.deliver(&[terminate("talks")]).await;
            plane.phase("talks", CallPhase::Ended).await;
        }
        let mut request = ListTranscriptsRequest { call_id: "talks".to_owned(), page_size: 2, ..Default::default() };
        let (mut said, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let page = client.list_transcripts(request.clone()).await.unwrap().into_inner();
            sizes.push(page.transcripts.len());
            said.extend(page.transcripts.into_iter().map(|said| said.text));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!((&said, sizes.as_slice()), (&words, [2, 2, 1].as_slice()), "ended: {ended}");
        // By our id the same list.
        request.call_id = plane.id("talks").await;
        client.list_transcripts(request.clone()).await.unwrap();
        request.call_id = "other".to_owned();
        let status = client.list_transcripts(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::InvalidArgument, Some("PAGE_TOKEN_INVALID")));
    }
    assert_eq!(plane.transcripts("other").await, []);
    let nobody = ListTranscriptsRequest { call_id: "nobody".to_owned(), ..Default::default() };
    assert_eq!(client.list_transcripts(nobody).await.unwrap_err().code(), Code::NotFound);
    let large = ListTranscriptsRequest { call_id: "talks".to_owned(), page_size: 1_001, ..Default::default() };
    assert_eq!(metadata(&client.list_transcripts(large).await.unwrap_err(), "field").as_deref(), Some("page_size"));
}

/// A message that is larger than clients take by default would never arrive.
#[tokio::test]
async fn a_page_of_long_texts_ends_before_it_is_too_large() {
    let (_graph, plane, node) = system().await;
    plane.deliver(&[connect("long")]).await;
    plane.phase("long", CallPhase::Active).await;
    let session = node.session("long", "session", |_| true).await.session_id;
    for n in 0..6 {
        let text = format!("{n}{}", "x".repeat(300_000));
        node.emit(&session, Kind::Transcript(Transcript { text, ..Transcript::default() }));
    }
    let said = plane.said("long", 6).await;
    let firsts: String = said.iter().map(|said| &said.text[..1]).collect();
    assert_eq!(firsts, "012345");
    let request = ListTranscriptsRequest { call_id: "long".to_owned(), ..Default::default() };
    let page = plane.client().await.list_transcripts(request).await.unwrap().into_inner();
    assert_eq!(page.transcripts.len(), 3);
}

#[tokio::test]
async fn labels_are_given_at_the_start_changed_later_and_searched_for() {
    let (_graph, plane, _node) = system().await;
    let mut client = plane.client().await;
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let request = StartSessionRequest {
        call_id: "self".to_owned(),
        sdp_offer: "v=0\r\ns=self\r\n".to_owned(),
        labels: pairs(&[("team", "a"), ("campaign", "spring")]),
        ..Default::default()
    };
    client.start_session(request.clone()).await.unwrap();
    let body = delivery(&[connect("managed")]);
    let signature = support::sign(&body);
    let webhook =
        HandleWebhookRequest { body: body.into(), signature, labels: pairs(&[("team", "b")]), ..Default::default() };
    client.handle_webhook(webhook).await.unwrap();
    plane.phase("managed", CallPhase::Active).await;
    assert_eq!(plane.call("managed").await.unwrap().labels, pairs(&[("team", "b")]));

    let mut change = async |call_id: &str, set: &[(&str, &str)], remove: &[&str]| {
        let request = UpdateCallLabelsRequest { call_id: call_id.to_owned(), set: pairs(set), remove: texts(remove) };
        Ok::<_, Status>(client.update_call_labels(request).await?.into_inner().labels)
    };
    let merged = pairs(&[("team", "c"), ("vip", "")]);
    assert_eq!(change("self", &[("team", "c"), ("vip", "")], &["campaign"]).await.unwrap(), merged);
    end(&plane, "self").await;
    let merged = pairs(&[("team", "c"), ("vip", "yes")]);
    assert_eq!(change("self", &[("vip", "yes")], &[]).await.unwrap(), merged, "after the end too");
    assert_eq!(plane.call("self").await.unwrap().labels, merged);
    for (wanted, expect) in [
        (&[("team", "b")] as &[_], &["managed"] as &[_]),
        (&[("team", "c"), ("vip", "yes")], &["self"]),
        (&[("team", "a")], &[]),
    ] {
        let filter = CallFilter { labels: pairs(wanted), ..Default::default() };
        assert_eq!(list(&plane, &asked(filter)).await.unwrap().0, expect, "{wanted:?}");
    }

    let long = "v".repeat(257);
    for (set, remove, field) in [
        (&[("Team", "a")] as &[_], &[] as &[_], "set"),
        (&[("team", long.as_str())], &[], "set"),
        (&[("team", "a")], &["team"], "remove"),
        (&[], &["no name"], "remove"),
    ] {
        let status = change("self", set, remove).await.unwrap_err();
        assert_eq!(metadata(&status, "field").as_deref(), Some(field), "{set:?} {remove:?}");
    }
    let names: Vec<String> = (0..15).map(|n| format!("n{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let status = change("self", &many, &[]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::FailedPrecondition, Some("TOO_MANY_LABELS")));
    assert_eq!(plane.call("self").await.unwrap().labels, merged, "nothing of it was done");
    assert_eq!(change("nobody", &[], &["a"]).await.unwrap_err().code(), Code::NotFound);
    let wrong = StartSessionRequest { labels: pairs(&[("\u{e4}", "")]), call_id: "other".to_owned(), ..request };
    let status = plane.client().await.start_session(wrong).await.unwrap_err();
    assert_eq!(metadata(&status, "field").as_deref(), Some("labels"));
}
