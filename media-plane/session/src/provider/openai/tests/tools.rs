//! Several tools called by one response: one reply follows, once all outcomes are there.

use super::*;

fn result(bench: &mut Bench, call: &str) {
    bench.command(ProviderCommand::ToolResult { call_id: call, output: "{}", then: AfterTool::Reply });
}

fn two_calls() -> Bench {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    bench.tool_call("R1", "call_1", "order_status");
    bench.tool_call("R1", "call_2", "opening_hours");
    bench
}

#[test]
fn one_create_follows_both_results() {
    let mut bench = two_calls();
    bench.done("R1", "completed");
    result(&mut bench, "call_1");
    bench.wait_ms(3_000);
    assert_eq!(bench.create().1, 0, "one is still running");
    result(&mut bench, "call_2");
    let (create, count) = bench.create();
    assert_eq!(count, 1);
    bench.created("R2", Some(&create));
    bench.done("R2", "completed");
    bench.wait_ms(10_000);
    assert_eq!(bench.create().1, 1);
    assert_eq!(bench.sent("conversation.item.create").len(), 2);
}

#[test]
fn results_that_come_before_the_response_is_done_are_one_create_too() {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    bench.tool_call("R1", "call_1", "order_status");
    result(&mut bench, "call_1");
    bench.tool_call("R1", "call_2", "opening_hours");
    result(&mut bench, "call_2");
    assert_eq!(bench.create().1, 0);
    bench.done("R1", "completed");
    let (create, count) = bench.create();
    assert_eq!(count, 1);
    bench.created("R2", Some(&create));
    bench.done("R2", "completed");
    assert_eq!(bench.create().1, 1);
}

#[test]
fn a_result_that_never_comes_holds_the_others_for_a_bounded_time() {
    let mut bench = two_calls();
    bench.done("R1", "completed");
    result(&mut bench, "call_1");
    bench.wait_ms(29_900);
    assert_eq!(bench.create().1, 0);
    bench.wait_ms(200);
    assert_eq!(bench.create().1, 1);
    result(&mut bench, "call_2");
    let create = bench.create().0;
    bench.created("R2", Some(&create));
    bench.done("R2", "completed");
    assert_eq!(bench.create().1, 2, "and is answered when it comes after all");
}

#[test]
fn a_result_that_wants_no_reply_gets_none() {
    let mut bench = two_calls();
    bench.done("R1", "completed");
    for call in ["call_1", "call_2"] {
        bench.command(ProviderCommand::ToolResult { call_id: call, output: "{}", then: AfterTool::Wait });
    }
    bench.wait_ms(40_000);
    assert_eq!(bench.create().1, 0);
}

#[test]
fn results_wait_until_the_callers_turn_is_answered() {
    let mut bench = two_calls();
    bench.done("R1", "completed");
    result(&mut bench, "call_1");
    bench.caller_speaks();
    bench.command(ProviderCommand::Interrupt(&[]));
    result(&mut bench, "call_2");
    bench.caller_stops();
    bench.created("V1", None);
    assert_eq!(bench.create().1, 0);
    bench.done("V1", "completed");
    assert_eq!(bench.create().1, 1);
}
