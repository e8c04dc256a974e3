//! Faults on demand.

use super::*;
use crate::ai::settings::ResponseFault;

fn with(faults: Faults) -> AiSettings {
    AiSettings { faults, ..AiSettings::default() }
}

#[test]
fn a_slow_update_is_confirmed_later() {
    let delay = Duration::from_millis(700);
    let mut client = Client::new(with(Faults { update: UpdateFault::Slow(delay), ..Faults::default() }));
    client.send(call_config());
    client.pass_ms(699);
    assert_eq!(client.count("session.updated"), 0);
    client.pass_ms(1);
    assert_eq!(client.count("session.updated"), 1);
}

#[test]
fn a_slow_update_that_is_wrong_is_refused_later_by_its_id() {
    let faults = Faults { update: UpdateFault::Slow(Duration::from_millis(10)), ..Faults::default() };
    let mut client = Client::new(with(faults));
    client.send(json!({"type": "session.update", "event_id": "su9", "session": {"type": "realtime", "colour": 1}}));
    client.pass_ms(10);
    assert_eq!(client.error(), (Some("unknown_parameter"), Some("session.colour"), Some("su9")));
}

#[test]
fn an_update_may_never_be_answered() {
    let mut client = Client::new(with(Faults { update: UpdateFault::Never, ..Faults::default() }));
    client.send(call_config());
    client.pass(Duration::from_secs(60));
    assert_eq!(client.count("session.updated"), 0);
    client.send(call_config());
    assert_eq!(client.count("session.updated"), 1, "only the first one is lost");
}

#[test]
fn the_socket_ends_when_told() {
    for (fault, expected) in [
        (CloseFault::Code(1_011), Output::Close { code: 1_011, reason: "fault on demand".to_owned() }),
        (CloseFault::Abort, Output::Abort),
    ] {
        let faults = Faults { close_after: Some((Duration::from_secs(2), fault)), ..Faults::default() };
        let mut client = Client::configured(with(faults));
        client.pass_ms(1_999);
        assert_eq!(client.ended, None);
        client.pass_ms(1);
        assert_eq!(client.ended, Some(expected));
    }
}

#[test]
fn the_server_falls_silent_when_told() {
    let mut client =
        Client::configured(with(Faults { stall_after: Some(Duration::from_secs(1)), ..Faults::default() }));
    client.pass_ms(1_000);
    assert!(client.silenced);
}

#[test]
fn responses_fail_end_early_or_begin_late_by_their_number() {
    let faults = [
        (0, ResponseFault::ServerError),
        (1, ResponseFault::RateLimited),
        (2, ResponseFault::Incomplete),
        (3, ResponseFault::Slow(Duration::from_millis(900))),
    ];
    let mut client = Client::configured(with(Faults { responses: faults.into(), ..Faults::default() }));
    let mut done = |wait_ms: u64| {
        client.events.clear();
        client.send(json!({"type": "response.create"}));
        client.pass_ms(wait_ms);
        (client.count("response.output_audio.delta"), client.events.last().cloned().unwrap_or_default())
    };
    let (deltas, event) = done(3_000);
    assert_eq!((deltas, event["response"]["status_details"]["error"]["code"].as_str()), (2, Some("server_error")));
    let (deltas, event) = done(3_000);
    assert_eq!(
        (deltas, event["response"]["status_details"]["error"]["code"].as_str()),
        (0, Some("rate_limit_exceeded"))
    );
    assert_eq!(event["response"]["output"], json!([]));
    let (deltas, event) = done(3_000);
    let details = json!({"type": "incomplete", "reason": "max_output_tokens"});
    assert_eq!((deltas > 2, &event["response"]["status_details"]), (true, &details));
    assert_eq!(done(899), (0, Value::Null), "nothing yet");
    let statuses: Vec<_> = client.record.replies.iter().map(|reply| reply.status.as_str()).collect();
    assert_eq!(statuses, ["failed", "failed", "incomplete", "in_progress"]);
    client.pass_ms(3_000);
    assert_eq!(client.record.replies[3].status, "completed");
}

#[test]
fn a_response_may_be_cancelled_before_it_is_created() {
    let faults = [(0, ResponseFault::Slow(Duration::from_secs(5)))].into();
    let mut client = Client::configured(with(Faults { responses: faults, ..Faults::default() }));
    client.send(json!({"type": "response.create"}));
    client.pass_ms(1_000);
    client.send(json!({"type": "response.cancel"}));
    assert_eq!(client.types(), ["response.created", "response.done"]);
    client.pass_ms(10_000);
    assert_eq!(client.events.len(), 2);
}

#[test]
fn deltas_come_late_on_demand() {
    let mut client = Client::configured(with(Faults { late_deltas: 3, ..Faults::default() }));
    client.send(json!({"type": "response.create"}));
    client.pass_ms(50);
    client.send(json!({"type": "response.cancel"}));
    let reply = client.record.replies[0].clone();
    let sent = reply.pcm.len();
    client.events.clear();
    client.pass_ms(1_000);
    assert_eq!(client.types(), ["response.output_audio.delta"; 3]);
    assert!(client.events.iter().all(|event| event["item_id"] == reply.item_id.as_str()));
    assert!(fixture("welcome").unwrap().pcm[sent..].starts_with(&client.heard()));
    assert_eq!(client.record.replies[0].pcm.len(), sent, "they do not count as sent in time");
}

#[test]
fn one_session_has_faults_and_the_others_have_not() {
    let faults_of: BTreeMap<_, _> = [(1, Faults { update: UpdateFault::Never, ..Faults::default() })].into();
    for (index, confirmed) in [(0, 1), (1, 0), (2, 1)] {
        let settings = AiSettings { faults_of: faults_of.clone(), ..AiSettings::default() };
        let mut client = Client::with_index(settings, index);
        client.send(call_config());
        assert_eq!(client.count("session.updated"), confirmed, "{index}");
    }
}
