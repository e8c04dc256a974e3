//! No RTP before the call is accepted and the transport is up; the first packet at once after both.

use voicebridge_session::{EventKind, Input, Milestone, SignallingMode, Stage, State};

use crate::harness::{Start, World};

#[test]
fn nothing_is_sent_before_accepted_and_the_first_packet_leaves_with_it() {
    let mut world = World::ready();
    world.run_ms(300);
    assert_eq!(world.session.state(), State::Answered);
    assert!(!world.session.may_connect());
    world.input(Input::Advance(Stage::AnswerDelivered));
    assert!(world.session.may_connect());
    world.run_ms(200);
    world.input(Input::TransportConnected);
    assert_eq!(world.session.state(), State::Connected);
    world.run_ms(700);
    assert!(world.ports.rtp.is_empty(), "connected is not accepted");

    world.input(Input::Advance(Stage::Accepted));
    assert_eq!(world.ports.rtp.len(), 1, "in the very call that brought ACCEPTED");
    assert_eq!(world.session.state(), State::Active);
}

#[test]
fn accepted_first_waits_for_the_transport() {
    let mut world = World::ready();
    world.input(Input::Advance(Stage::Accepted));
    world.run_ms(400);
    assert!(world.ports.rtp.is_empty());
    assert!(world.session.may_connect(), "accepted implies delivered");
    world.input(Input::TransportConnected);
    assert_eq!(world.ports.rtp.len(), 1);
}

#[test]
fn silence_flows_while_the_ai_is_not_ready() {
    let mut world = World::call();
    world.accept();
    world.run_ms(1_000);
    assert_eq!(world.ports.rtp.len(), 51);
    assert_eq!(world.voice_ms(0), 0);
    assert_eq!(world.ports.rtp.iter().filter(|packet| packet.marker).count(), 1);
}

#[test]
fn immediate_mode_sends_as_soon_as_the_transport_is_up() {
    let mut world = World::ready_with(Start { mode: SignallingMode::Immediate, ..Start::default() });
    assert!(world.session.may_connect());
    assert!(world.ports.rtp.is_empty());
    world.run_ms(100);
    world.input(Input::TransportConnected);
    assert_eq!(world.ports.rtp.len(), 1);
}

#[test]
fn immediate_mode_becomes_staged_when_it_is_advanced() {
    let mut world = World::ready_with(Start { mode: SignallingMode::Immediate, ..Start::default() });
    world.input(Input::Advance(Stage::AnswerDelivered));
    world.input(Input::TransportConnected);
    world.run_ms(500);
    assert!(world.ports.rtp.is_empty());
    world.input(Input::Advance(Stage::Accepted));
    assert_eq!(world.ports.rtp.len(), 1);
}

#[test]
fn the_milestones_come_in_order_and_once() {
    let mut world = World::ready();
    world.accept();
    world.run_ms(100);
    world.input(Input::TransportConnected);
    world.input(Input::Advance(Stage::Accepted));
    let milestones: Vec<Milestone> = world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::Milestone(milestone) => Some(*milestone),
            _ => None,
        })
        .collect();
    assert_eq!(milestones, [Milestone::SessionCreated, Milestone::ProviderSessionCreated, Milestone::BridgeActive]);
    let connected = world.kinds().filter(|kind| matches!(kind, EventKind::TransportConnected { .. })).count();
    assert_eq!(connected, 1);
}
