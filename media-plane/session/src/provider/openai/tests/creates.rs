//! When a response is asked for, and when one that was asked for is stopped.

use super::*;

fn say(bench: &mut Bench, words: &str) -> Value {
    bench.command(ProviderCommand::Say(words));
    bench.create().0
}

#[test]
fn a_waiting_create_is_not_sent_while_the_caller_speaks() {
    let mut bench = Bench::ready();
    bench.created("V1", None);
    say(&mut bench, "Your taxi is here.");
    bench.caller_speaks();
    bench.command(ProviderCommand::Interrupt(&[]));
    bench.done("V1", "cancelled");
    assert_eq!(bench.create().1, 0, "the caller is speaking");
    bench.caller_stops();
    assert_eq!(bench.create().1, 0, "and is owed an answer first");
    bench.created("V2", None);
    assert_eq!(bench.create().1, 0);
    bench.done("V2", "completed");
    assert_eq!(bench.create().1, 1);
}

#[test]
fn a_turn_that_is_never_answered_does_not_hold_the_queue_for_ever() {
    let mut bench = Bench::ready();
    bench.caller_speaks();
    say(&mut bench, "Your taxi is here.");
    bench.caller_stops();
    bench.wait_ms(3_900);
    assert_eq!(bench.create().1, 0);
    bench.wait_ms(200);
    assert_eq!(bench.create().1, 1);
}

#[test]
fn a_caller_who_never_seems_to_stop_does_not_hold_the_queue_for_ever() {
    let mut bench = Bench::ready();
    bench.caller_speaks();
    say(&mut bench, "Your taxi is here.");
    bench.wait_ms(59_900);
    assert_eq!(bench.create().1, 0);
    bench.wait_ms(200);
    assert_eq!(bench.create().1, 1);
}

#[test]
fn an_interruption_is_remembered_when_the_servers_own_response_comes_first() {
    let mut bench = Bench::ready();
    let first = say(&mut bench, "One.");
    bench.created("R1", Some(&first));
    bench.done("R1", "completed");
    let create = say(&mut bench, "A long explanation.");
    bench.caller_speaks();
    bench.command(ProviderCommand::Interrupt(&[]));
    bench.caller_stops();
    bench.created("V1", None);
    assert!(bench.sent("response.cancel").is_empty(), "the answer to the caller goes on");
    bench.done("V1", "completed");
    bench.created("R2", Some(&create));
    assert_eq!(bench.sent("response.cancel")[0]["response_id"], "R2", "what was interrupted is not said later");
    bench.events.clear();
    bench.delta("R2", "A", &[0; 480]);
    assert!(bench.heard().is_empty());
}

#[test]
fn an_interruption_drops_answers_that_wait_and_nothing_else() {
    let mut bench = Bench::ready();
    bench.created("V1", None);
    bench.command(ProviderCommand::Reply);
    say(&mut bench, "Your taxi is here.");
    bench.command(ProviderCommand::Interrupt(&[]));
    bench.done("V1", "cancelled");
    let (create, count) = bench.create();
    assert_eq!(count, 1);
    assert!(create["response"]["instructions"].as_str().is_some_and(|told| told.ends_with("Your taxi is here.")));
    bench.created("R1", Some(&create));
    bench.done("R1", "completed");
    assert_eq!(bench.create().1, 1);
}

/// Nothing is heard for a while: the session stops what there is and asks for an answer, whatever that was.
#[test]
fn an_answer_can_be_asked_for_whatever_the_state() {
    type Before = fn(&mut Bench);
    let befores: [(&str, Before); 6] = [
        ("nothing", |_| {}),
        ("a turn without an answer", |bench| {
            bench.caller_speaks();
            bench.caller_stops();
        }),
        ("a create without an answer", |bench| bench.command(ProviderCommand::Reply)),
        ("a response without a word", |bench| bench.created("V1", None)),
        ("a cancel without an answer", |bench| {
            bench.created("V1", None);
            bench.command(ProviderCommand::Interrupt(&[]));
        }),
        ("a collision with a response unseen", |bench| {
            bench.command(ProviderCommand::Reply);
            let create = bench.create().0;
            bench.error("conversation_already_has_active_response", "busy", Some(&create));
        }),
    ];
    for (name, before) in befores {
        let mut bench = Bench::ready();
        before(&mut bench);
        bench.wait_ms(1_500);
        bench.sent.0.clear();
        bench.command(ProviderCommand::Interrupt(&[]));
        bench.command(ProviderCommand::Reply);
        bench.wait_ms(1_000);
        assert_eq!(bench.create().1, 1, "after {name}");
        assert_eq!(bench.failure(), None, "after {name}");
    }
}

#[test]
fn an_answer_the_server_gives_after_all_is_not_given_twice() {
    let mut bench = Bench::ready();
    bench.caller_speaks();
    bench.caller_stops();
    bench.wait_ms(1_500);
    bench.command(ProviderCommand::Interrupt(&[]));
    bench.command(ProviderCommand::Reply);
    let create = bench.create().0;
    bench.created("V1", None);
    bench.error("conversation_already_has_active_response", "busy", Some(&create));
    bench.done("V1", "completed");
    bench.wait_ms(5_000);
    assert_eq!(bench.create().1, 1);
}

#[test]
fn a_create_that_is_never_taken_up_has_three_attempts_and_is_then_refused() {
    let mut bench = Bench::ready();
    say(&mut bench, "Hello?");
    for count in [2, 3] {
        bench.wait_ms(3_000);
        assert_eq!(bench.errors().last().unwrap().0, "response_timeout");
        assert_eq!(bench.create().1, count, "and asked for again");
    }
    assert_eq!(bench.failure(), None);
    bench.wait_ms(3_000);
    let refused = |event: &ProviderEvent| matches!(event, ProviderEvent::CreateRefused { purpose: Purpose::Say });
    assert_eq!(bench.events.iter().filter(|event| refused(event)).count(), 1);
    assert_eq!((bench.failure(), bench.create().1), (None, 3));
}

#[test]
fn a_response_of_which_nothing_comes_is_cancelled_and_over() {
    let mut bench = Bench::ready();
    bench.created("V1", None);
    say(&mut bench, "Your taxi is here.");
    bench.wait_ms(8_100);
    assert_eq!(bench.sent("response.cancel")[0]["response_id"], "V1");
    assert_eq!(bench.errors()[0].0, "response_timeout");
    bench.wait_ms(1_000);
    assert!(bench.events.iter().any(|event| matches!(event,
        ProviderEvent::ResponseFinished { response_id, status_reason, .. }
            if response_id == "V1" && status_reason == "response_timeout")));
    assert_eq!(bench.create().1, 1);
}

#[test]
fn a_message_that_comes_twice_counts_once() {
    let mut bench = Bench::ready();
    let create = say(&mut bench, "One.");
    for _ in 0..2 {
        bench.created("R1", Some(&create));
    }
    for _ in 0..2 {
        bench.failed("R1");
    }
    bench.created("R1", Some(&create));
    bench.wait_ms(1_000);
    assert_eq!(bench.create().1, 2, "a failed response is asked for again once");
    let finished = bench.events.iter().filter(|event| matches!(event, ProviderEvent::ResponseFinished { .. })).count();
    let started = bench.events.iter().filter(|event| matches!(event, ProviderEvent::ResponseStarted { .. })).count();
    assert_eq!((started, finished), (1, 1));
}
