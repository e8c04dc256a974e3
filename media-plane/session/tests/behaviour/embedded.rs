//! A whole call with the AI in this process.

use voicebridge_session::{Agent, Command, EventKind, Speaker, TerminationResult, provider::embedded::Embedded};

use crate::harness::{Start, World};

fn call(agent: Agent) -> World {
    World::new(Start { agent, provider: Box::new(Embedded::new()), ..Start::default() })
}

#[test]
fn it_greets_listens_and_answers() {
    let mut world = call(Agent::default());
    assert!(world.session.provider_ready(), "no socket to wait for");
    world.run_ms(400);
    world.accept();
    world.caller_is_quiet_ms(4_000);
    assert_eq!(world.transcripts(), [(Speaker::Agent, "Hello, how can I help you?".into(), false)]);
    assert!(world.voice_ms(0) > 1_000);

    world.caller_speaks_ms(2_000);
    world.caller_is_quiet_ms(5_000);
    let transcripts = world.transcripts();
    assert_eq!(transcripts.len(), 3, "{transcripts:?}");
    assert_eq!(transcripts[1].0, Speaker::Caller);
    let seconds: f64 = transcripts[1].1.trim_start_matches("[speech ").trim_end_matches(" s]").parse().unwrap();
    assert!((1.7..=2.3).contains(&seconds), "{transcripts:?}");
    assert_eq!(transcripts[2], (Speaker::Agent, "I see. Tell me more.".into(), false));
    assert!(world.incidents().is_empty());
    assert!(world.ports.requests.is_empty() && world.ports.appends.is_empty(), "it has no socket");
}

#[test]
fn it_can_be_interrupted() {
    let mut world = call(Agent::default());
    world.accept();
    world.run_ms(700);
    world.caller_speaks_ms(1_500);
    assert_eq!(world.barge_ins().len(), 1);
    let (heard_ms, received_ms) = world.barge_ins()[0];
    assert!((500..1_400).contains(&heard_ms) && heard_ms < received_ms, "{heard_ms} of {received_ms}");
    let transcripts = world.transcripts();
    assert_eq!(transcripts.len(), 1);
    assert!(transcripts[0].2 && "Hello, how can I help you?".starts_with(&transcripts[0].1), "{transcripts:?}");
    world.caller_is_quiet_ms(4_000);
    assert_eq!(world.transcripts().last().unwrap().1, "I see. Tell me more.");
}

#[test]
fn it_speaks_the_agents_language() {
    let mut world = call(Agent::parse("language: de-AT\n").unwrap());
    world.accept();
    world.run_ms(4_000);
    assert_eq!(world.transcripts()[0].1, "Hallo, wie kann ich helfen?");
}

#[test]
fn it_hangs_up_when_asked_and_is_heard_to_the_end() {
    let mut world = call(Agent::default());
    world.accept();
    world.run_ms(4_000);
    world.command(Command::InjectText("Say goodbye now.".into()));
    world.run_ms(6_000);
    assert_eq!(world.ending(), (TerminationResult::Completed, "AGENT_HANGUP".into(), String::new()));
    assert_eq!(world.transcripts().last().unwrap().1, "Thank you for calling. Goodbye.");
    assert!(world.kinds().any(|kind| matches!(kind, EventKind::ToolCalled { name, .. } if name == "end_call")));
}

#[test]
fn it_says_goodbye_when_the_time_is_up() {
    let mut world = call(Agent::parse("max_duration_s: 6\n").unwrap());
    world.accept();
    world.caller_speaks_ms(200);
    world.run_ms(15_000);
    assert_eq!(world.ending(), (TerminationResult::Completed, "MAX_DURATION_REACHED".into(), String::new()));
    assert_eq!(world.transcripts().last().unwrap().1, "Thank you for calling. Goodbye.");
}

#[test]
fn the_same_inputs_give_the_same_call() {
    let run = || {
        let mut world = call(Agent::default());
        world.accept();
        world.caller_speaks_ms(1_000);
        world.caller_is_quiet_ms(3_000);
        (world.ports.events, world.ports.rtp.into_iter().map(|packet| packet.payload).collect::<Vec<_>>())
    };
    assert!(run() == run());
}
