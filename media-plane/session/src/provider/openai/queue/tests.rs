//! The queue of responses in single cases; all orders of events are in `exploration`.

use super::*;
use crate::provider::Purpose;

const AT: Time = Time::from_millis(1_000);

fn say(words: &str) -> Create {
    Create::Say(words.to_owned())
}

/// What is sent now: its event id and what it asks for.
fn sent(queue: &mut ResponseQueue, at: Time) -> Option<(String, Create)> {
    queue.next(at).map(|(id, create)| (id.to_string(), create.clone()))
}

fn requested() -> (ResponseQueue, String) {
    let mut queue = ResponseQueue::default();
    assert!(queue.push(say("one")));
    let (event_id, _) = sent(&mut queue, AT).unwrap();
    (queue, event_id)
}

#[test]
fn one_at_a_time() {
    let (mut queue, event_id) = requested();
    assert!(queue.push(Create::Farewell));
    assert_eq!(sent(&mut queue, AT), None);
    assert_eq!(queue.created(AT, "R1", Some(&event_id)), Some(Started { purpose: Purpose::Say, cancel: false }));
    assert_eq!(sent(&mut queue, AT), None);
    assert_eq!(queue.done(AT, "R1", Some(&event_id), Outcome::Over), Some(Ended::Over));
    assert_eq!(sent(&mut queue, AT).unwrap().1, Create::Farewell);
}

#[test]
fn a_refusal_for_a_response_never_seen_waits_for_any_end() {
    let (mut queue, event_id) = requested();
    assert_eq!(queue.refused(AT, Some(&event_id), Refusal::Collision), Refused::Settled);
    assert!(queue.is_active());
    assert_eq!(queue.interrupt(AT), Some(Cancel { response_id: None }), "whichever that is");
    queue.done(AT, "V7", None, Outcome::Over);
    assert_eq!(sent(&mut queue, AT).unwrap().1, say("one"));
    assert_eq!(queue.refused(AT, Some("other"), Refusal::Collision), Refused::NotOurs);
}

#[test]
fn a_guess_is_taken_back_when_the_refusal_comes() {
    let (mut queue, event_id) = requested();
    assert_eq!(queue.created(AT, "V1", None).unwrap().purpose, Purpose::Say, "no tag is known to be repeated");
    assert_eq!(queue.refused(AT, Some(&event_id), Refusal::Collision), Refused::Settled);
    assert_eq!(sent(&mut queue, AT), None);
    queue.done(AT, "V1", None, Outcome::Over);
    assert_eq!(sent(&mut queue, AT).unwrap().1, say("one"));
}

#[test]
fn a_guess_is_taken_back_when_ours_begins() {
    let (mut queue, event_id) = requested();
    queue.created(AT, "V1", None);
    assert_eq!(queue.created(AT, "R1", Some(&event_id)), Some(Started { purpose: Purpose::Say, cancel: false }));
}

#[test]
fn what_begins_after_it_was_given_up_is_not_said_twice() {
    let (mut queue, first) = requested();
    let late = AT + TAKE_UP_TIMEOUT;
    assert_eq!(queue.expire(late), Some(Lapse::NotTakenUp));
    let (second, _) = sent(&mut queue, late).unwrap();
    assert_eq!(queue.created(late, "R1", Some(&first)), Some(Started { purpose: Purpose::Say, cancel: false }));
    queue.done(late, "R1", Some(&first), Outcome::Over);
    assert!(queue.created(late, "R2", Some(&second)).unwrap().cancel);
}

#[test]
fn deadlines_are_those_of_what_is_waited_for() {
    let after = |millis: u64| Some(AT + Duration::from_millis(millis));
    let (mut queue, event_id) = requested();
    assert_eq!(queue.deadline(), after(3_000));
    queue.created(AT, "R1", Some(&event_id));
    assert_eq!(queue.deadline(), after(8_000));
    queue.heard(AT + Duration::from_secs(2), "R1");
    assert_eq!(queue.deadline(), after(10_000));
    assert_eq!(queue.interrupt(AT + Duration::from_secs(3)), Some(Cancel { response_id: Some("R1".into()) }));
    assert_eq!(queue.deadline(), after(4_000));
    assert_eq!(queue.interrupt(AT + Duration::from_millis(3_500)), None, "cancelled already");
    assert_eq!(queue.deadline(), after(4_000));
    let end = AT + Duration::from_secs(4);
    assert_eq!(queue.expire(end), Some(Lapse::NotCancelled { response_id: Some("R1".into()) }));
    assert_eq!((queue.expire(end), queue.deadline()), (None, None));
    queue.speech_started(AT);
    assert_eq!(queue.deadline(), after(60_000));
    queue.speech_stopped(AT);
    assert_eq!(queue.deadline(), after(4_000));
}

#[test]
fn a_response_that_falls_silent_is_to_be_cancelled() {
    let (mut queue, event_id) = requested();
    queue.created(AT, "R1", Some(&event_id));
    assert_eq!(queue.expire(AT + Duration::from_millis(7_999)), None);
    let cancel = Cancel { response_id: Some("R1".into()) };
    assert_eq!(queue.expire(AT + Duration::from_secs(8)), Some(Lapse::NotEnded { cancel, owed: false }));
}

#[test]
fn requests_are_bounded_and_those_of_one_kind_join() {
    let mut queue = ResponseQueue::default();
    for number in 0..MAX_REQUESTS {
        assert!(queue.push(say(&number.to_string())));
    }
    assert!(!queue.push(say("one too many")));

    let mut queue = ResponseQueue::default();
    for create in [Create::Answer, Create::Reply, Create::AfterTools, Create::Answer] {
        assert!(queue.push(create));
    }
    assert_eq!(sent(&mut queue, AT).unwrap().1, Create::AfterTools);
    assert!(queue.waiting.is_empty());
}

#[test]
fn a_stranger_frees_nothing() {
    let (mut queue, event_id) = requested();
    queue.created(AT, "R1", Some(&event_id));
    assert_eq!(queue.done(AT, "R0", None, Outcome::Over), Some(Ended::Over));
    assert!(queue.is_active());
}

#[test]
fn event_ids_survive_the_way() {
    let id = EventId { request: 7, attempt: 3 };
    assert_eq!(EventId::parse(&id.to_string()), Some(id));
    for other in ["", "vb_response_", "vb_response_7", "vb_response_7_x", "vb_session_1", "vb_response_7_300"] {
        assert_eq!(EventId::parse(other), None, "{other}");
    }
}
