//! A create that is refused, a response that fails: asked for again, or given up with a word about it.

use super::*;

fn refused(bench: &Bench) -> Vec<Purpose> {
    bench
        .events
        .iter()
        .filter_map(|event| match event {
            ProviderEvent::CreateRefused { purpose } => Some(*purpose),
            _ => None,
        })
        .collect()
}

const LIMIT: &str = "Rate limit reached for the model. Please try again in 1.2s.";

#[test]
fn a_greeting_refused_for_the_rate_is_asked_for_again_after_the_pause_asked_for() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Greet);
    let first = bench.create().0;
    bench.error("rate_limit_exceeded", LIMIT, Some(&first));
    bench.wait_ms(1_190);
    assert_eq!(bench.create().1, 1);
    bench.wait_ms(20);
    let (second, count) = bench.create();
    assert_eq!(count, 2);
    assert_eq!(second["response"]["instructions"], first["response"]["instructions"]);
    assert_eq!(bench.errors()[0].0, "rate_limit_exceeded");
    assert!(refused(&bench).is_empty());
}

#[test]
fn without_a_pause_asked_for_it_is_a_second_and_then_two_and_after_three_tries_it_is_refused() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Greet);
    for (pause_ms, count) in [(1_000, 2), (2_000, 3)] {
        let create = bench.create().0;
        bench.error("server_error", "", Some(&create));
        bench.wait_ms(pause_ms - 10);
        assert_eq!(bench.create().1, count - 1);
        bench.wait_ms(20);
        assert_eq!(bench.create().1, count);
    }
    let create = bench.create().0;
    bench.error("server_error", "", Some(&create));
    bench.wait_ms(30_000);
    assert_eq!(bench.create().1, 3);
    assert_eq!(refused(&bench), [Purpose::Greeting]);
    assert_eq!(bench.errors().len(), 3, "each refusal is told");
    assert!(bench.errors()[2].1.contains("given up"), "{:?}", bench.errors()[2]);
    assert_eq!(bench.failure(), None);
}

#[test]
fn the_pause_is_that_of_the_reported_limits_when_the_refusal_names_none() {
    let mut bench = Bench::ready();
    bench.server(json!({"type": "rate_limits.updated", "rate_limits": [
        {"name": "requests", "limit": 100, "remaining": 99, "reset_seconds": 600.0},
        {"name": "tokens", "limit": 40000, "remaining": 0, "reset_seconds": 3.5}]}));
    bench.wait_ms(500);
    bench.command(ProviderCommand::Greet);
    let create = bench.create().0;
    bench.error("rate_limit_exceeded", "", Some(&create));
    bench.wait_ms(2_900);
    assert_eq!(bench.create().1, 1);
    bench.wait_ms(200);
    assert_eq!(bench.create().1, 2);
}

#[test]
fn a_pause_longer_than_a_caller_waits_is_cut_short() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Greet);
    let create = bench.create().0;
    bench.error("rate_limit_exceeded", "Please try again in 6m0s.", Some(&create));
    bench.wait_ms(10_100);
    assert_eq!(bench.create().1, 2);
}

#[test]
fn a_create_that_is_wrong_is_not_asked_for_again() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Say("Hello."));
    let create = bench.create().0;
    bench.error("invalid_value", "Invalid value: 'x'.", Some(&create));
    bench.wait_ms(30_000);
    assert_eq!(bench.create().1, 1);
    assert_eq!(refused(&bench), [Purpose::Say]);
}

#[test]
fn a_collision_without_an_event_id_is_about_the_create_that_is_open() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Greet);
    let create = bench.create().0;
    bench.created("V1", None);
    bench.error("conversation_already_has_active_response", "in progress: V1", None);
    bench.done("V1", "completed");
    let (again, count) = bench.create();
    assert_eq!(count, 2);
    assert_eq!(again["response"]["instructions"], create["response"]["instructions"]);
    assert!(bench.errors().is_empty(), "part of the game: {:?}", bench.errors());
}

#[test]
fn an_error_without_an_event_id_before_it_is_ready_is_about_the_configuration() {
    let mut bench = Bench::opened();
    bench.error("unknown_parameter", "Unknown parameter: 'session.audio.input.foo'.", None);
    let failure = bench.failure().unwrap();
    assert_eq!(failure.code, "unknown_parameter");
    assert!(failure.message.contains("session.audio.input.foo"), "{}", failure.message);
}

#[test]
fn a_response_that_failed_before_a_word_is_asked_for_again_after_a_second_and_then_two() {
    let mut bench = Bench::ready();
    bench.created("V1", None);
    bench.failed("V1");
    for (pause_ms, count) in [(1_000, 1), (2_000, 2)] {
        bench.wait_ms(pause_ms - 10);
        assert_eq!(bench.create().1, count - 1);
        bench.wait_ms(20);
        let (create, creates) = bench.create();
        assert_eq!(creates, count);
        let id = format!("R{count}");
        bench.created(&id, Some(&create));
        if count == 1 {
            bench.failed(&id);
        }
    }
    assert_eq!(bench.failure(), None);
}

#[test]
fn a_response_that_failed_is_not_asked_for_again_when_something_came_of_it() {
    type Before = fn(&mut Bench);
    let befores: [(&str, Before); 3] = [
        ("audio", |bench| bench.delta("V1", "A", &[0; 480])),
        ("a tool call", |bench| bench.tool_call("V1", "call_1", "order_status")),
        ("a cancel", |bench| bench.command(ProviderCommand::Interrupt(&[]))),
    ];
    for (name, before) in befores {
        let mut bench = Bench::ready();
        bench.created("V1", None);
        before(&mut bench);
        bench.failed("V1");
        bench.wait_ms(5_000);
        assert_eq!(bench.create().1, 0, "after {name}");
        assert_eq!(bench.errors().len(), usize::from(name != "a cancel"), "after {name}");
    }
}

#[test]
fn nothing_is_asked_for_again_after_a_goodbye() {
    let mut bench = Bench::ready();
    bench.created("V1", None);
    bench.delta("V1", "A", &[0; 480]);
    bench.tool_call("V1", "call_1", crate::agent::END_CALL_TOOL);
    bench.done("V1", "completed");
    bench.created("V2", None);
    bench.failed("V2");
    bench.wait_ms(5_000);
    assert_eq!(bench.create().1, 0);
    assert_eq!(refused(&bench), [Purpose::Reply]);

    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Farewell);
    let create = bench.create().0;
    bench.created("R1", Some(&create));
    bench.failed("R1");
    bench.wait_ms(5_000);
    assert_eq!(bench.create().1, 1);
    assert_eq!(refused(&bench), [Purpose::Farewell]);
}

#[test]
fn a_failed_answer_is_not_asked_for_again_over_the_caller() {
    let mut bench = Bench::ready();
    bench.created("V1", None);
    bench.caller_speaks();
    bench.failed("V1");
    bench.caller_stops();
    bench.created("V2", None);
    bench.done("V2", "completed");
    bench.wait_ms(5_000);
    assert_eq!(bench.create().1, 0, "the caller's new turn was answered");
}

#[test]
fn a_close_is_the_longest_duration_only_at_the_date_the_service_named() {
    const MADE_AT_S: u64 = 1_790_000_000;
    let closed = |after_ms: u64| {
        let provider = OpenAi::new(OpenAiSettings::default()).made_at_unix_s(MADE_AT_S);
        let mut bench =
            Bench { provider, sent: Sent::default(), events: VecDeque::new(), now: Time::from_millis(7_000_000) };
        bench.with(|now, provider, out| provider.open(now, &Agent::default(), AudioFormat::Pcm, out));
        bench.server(json!({"type": "session.created", "session": {"id": "s", "expires_at": MADE_AT_S + 3_600}}));
        bench.server(json!({"type": "session.updated", "session": {"id": "s"}}));
        bench.wait_ms(after_ms);
        bench.with(|now, provider, out| provider.audio(now, &[0; 480], out));
        bench.provider.closed(ProviderClosed::Closed { code: 1001, reason: "" }).code
    };
    assert_eq!(closed(20_000), "closed_1001");
    assert_eq!(closed(3_539_000), "closed_1001");
    assert_eq!(closed(3_541_000), "session_expired");
    assert_eq!(closed(3_605_000), "session_expired");
}
