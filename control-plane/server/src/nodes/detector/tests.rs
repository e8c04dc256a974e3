//! Schedules of beats, events, probes and stalls, by hand and by the hundred.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { beat: Duration::from_secs(1), lost_after: Duration::from_secs(10) };
/// Deadline of a probe in these worlds.
const PROBE: Duration = Duration::from_secs(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn an_overdue_beat_has_the_node_probed_and_nothing_more() {
    let start = Instant::now();
    let mut node = Detector::new(start, BOUNDS.lost_after);
    assert_eq!(node.decide(start + ms(1_500), BOUNDS), Decision::Keep);
    assert_eq!(node.decide(start + ms(1_501), BOUNDS), Decision::Probe);
    assert_eq!(node.decide(start + ms(1_751), BOUNDS), Decision::Keep, "one at a time");
    assert_eq!(node.probed(start + ms(1_501), Finding::Alive, start + ms(1_800), BOUNDS), Decision::Keep);
    assert_eq!(node.decide(start + ms(3_300), BOUNDS), Decision::Keep);
    assert_eq!(node.decide(start + ms(3_301), BOUNDS), Decision::Probe);
}

#[test]
fn the_end_of_a_registration_has_the_node_probed_at_once() {
    let start = Instant::now();
    let mut node = Detector::new(start, BOUNDS.lost_after);
    node.doubt();
    assert_eq!(node.decide(start + ms(10), BOUNDS), Decision::Probe);
    assert_eq!(node.probed(start + ms(10), Finding::Gone, start + ms(12), BOUNDS), Decision::Lose(Loss::Gone));
}

#[test]
fn silence_loses_a_node_only_with_a_probe_unanswered() {
    let start = Instant::now();
    let mut node = Detector::new(start, BOUNDS.lost_after);
    // Nobody looked for a minute.
    assert_eq!(node.decide(start + ms(60_000), BOUNDS), Decision::Probe);
    let ended = start + ms(62_000);
    assert_eq!(node.probed(start + ms(60_000), Finding::Silent, ended, BOUNDS), Decision::Lose(Loss::Silent));
}

#[test]
fn a_sign_of_life_outweighs_a_probe_begun_before_it() {
    let start = Instant::now();
    let mut node = Detector::new(start, BOUNDS.lost_after);
    assert_eq!(node.decide(start + ms(1_501), BOUNDS), Decision::Probe);
    node.heard(start + ms(1_600));
    assert_eq!(node.probed(start + ms(1_501), Finding::Gone, start + ms(1_700), BOUNDS), Decision::Keep);
    // It is asked again after a beat, however lively it seems.
    assert_eq!(node.decide(start + ms(2_699), BOUNDS), Decision::Keep);
    assert_eq!(node.decide(start + ms(2_700), BOUNDS), Decision::Probe);
    assert_eq!(node.probed(start + ms(2_700), Finding::Gone, start + ms(2_701), BOUNDS), Decision::Lose(Loss::Gone));
}

#[test]
fn the_outcome_of_a_forgotten_probe_says_nothing() {
    let start = Instant::now();
    let mut node = Detector::new(start, BOUNDS.lost_after);
    assert_eq!(node.probed(start, Finding::Gone, start + ms(5), BOUNDS), Decision::Keep);
}

/// A node and the path to it, as the control plane cannot see them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    /// Beats come and probes are answered.
    Well,
    /// No beats; events come, probes stay unanswered.
    OnlyEvents,
    /// No beats, no events; probes are answered.
    OnlyProbes,
    /// Nothing comes any more.
    CutOff,
    /// Its address refuses connections.
    Dead,
}

#[derive(Debug, PartialEq)]
struct Lost {
    why: Loss,
    /// Since the node came into the state it was lost in.
    after: Duration,
}

/// What the node sent, or did, and we have not heard yet.
enum Sent {
    Beat,
    Event,
    /// Its registration ended.
    Close,
}

/// A node in one phase after another, and what is on its way from it.
struct Sender<'a> {
    phases: std::slice::Iter<'a, (Node, u64)>,
    state: Node,
    since: Instant,
    ends: Instant,
    /// When it sends next, if it does.
    next: Option<Instant>,
    on_its_way: Vec<Sent>,
}

impl<'a> Sender<'a> {
    fn new(phases: &'a [(Node, u64)], start: Instant) -> Self {
        let on_its_way = Vec::new();
        let phases = phases.iter();
        let mut sender = Self { phases, state: Node::CutOff, since: start, ends: start, next: None, on_its_way };
        sender.enter_next();
        sender
    }

    /// False: that was the last phase.
    fn enter_next(&mut self) -> bool {
        let Some(&(state, long)) = self.phases.next() else { return false };
        if self.state == Node::Well && state != Node::Well {
            self.on_its_way.push(Sent::Close);
        }
        self.state = state;
        self.since = self.ends;
        self.ends += ms(long);
        self.next = matches!(state, Node::Well | Node::OnlyEvents).then_some(self.since);
        true
    }

    /// Sends until then. False: the last phase is over.
    fn go_on(&mut self, until: Instant) -> bool {
        loop {
            while let Some(at) = self.next.filter(|at| *at < self.ends && *at <= until) {
                // Events: the statistics of one call.
                let (sent, pace) =
                    if self.state == Node::Well { (Sent::Beat, BOUNDS.beat) } else { (Sent::Event, ms(5_000)) };
                self.on_its_way.push(sent);
                self.next = Some(at + pace);
            }
            if until <= self.ends {
                return true;
            }
            if !self.enter_next() {
                return false;
            }
        }
    }

    fn deliver(&mut self, node: &mut Detector, now: Instant) {
        for sent in self.on_its_way.drain(..) {
            match sent {
                Sent::Beat => node.beat(now, BOUNDS.lost_after),
                Sent::Event => node.heard(now),
                Sent::Close => node.doubt(),
            }
        }
    }
}

/// Looks at the node four times a beat, with pauses of our own in between: what the node sends while we stand still is heard
/// when we go on, before or after we look again.
fn run(phases: &[(Node, u64)], stalls: &[(u64, u64)], looks_first: bool) -> Option<Lost> {
    let start = Instant::now();
    let mut node = Detector::new(start, BOUNDS.lost_after);
    let mut sender = Sender::new(phases, start);
    let mut stalls = stalls.iter().copied().peekable();
    let mut probe: Option<(Instant, Instant, Finding)> = None;
    let mut now = start;
    loop {
        let last = now;
        now += BOUNDS.beat / 4;
        if let Some((_, long)) = stalls.next_if(|(when, _)| start + ms(*when) <= now) {
            now += ms(long);
        }
        if !sender.go_on(now) {
            return None;
        }
        if !looks_first {
            sender.deliver(&mut node, now);
        }
        if now.duration_since(last) > BOUNDS.stall() {
            node.forgive(now);
        }
        let mut decision = match probe.take_if(|(_, ends, _)| *ends <= now) {
            Some((begun, _, finding)) => node.probed(begun, finding, now, BOUNDS),
            None => Decision::Keep,
        };
        if decision == Decision::Keep {
            decision = node.decide(now, BOUNDS);
        }
        if looks_first {
            sender.deliver(&mut node, now);
        }
        match decision {
            Decision::Keep => {}
            Decision::Probe => {
                probe = Some(match sender.state {
                    Node::Well | Node::OnlyProbes => (now, now + ms(20), Finding::Alive),
                    Node::OnlyEvents | Node::CutOff => (now, now + PROBE, Finding::Silent),
                    Node::Dead => (now, now + ms(1), Finding::Gone),
                });
            }
            Decision::Lose(why) => return Some(Lost { why, after: now.duration_since(sender.since) }),
        }
    }
}

fn living() -> impl Strategy<Value = Node> {
    prop_oneof![Just(Node::Well), Just(Node::OnlyEvents), Just(Node::OnlyProbes)]
}

fn stalls() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0_u64..200_000, 0_u64..40_000), 0..6).prop_map(|mut stalls| {
        stalls.sort_unstable();
        stalls
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_node_that_gives_any_sign_of_life_is_never_lost(
        phases in proptest::collection::vec((living(), 0_u64..60_000), 1..8),
        stalls in stalls(),
        looks_first: bool,
    ) {
        prop_assert_eq!(run(&phases, &stalls, looks_first), None);
    }

    #[test]
    fn a_dead_node_is_lost_at_once_whatever_went_before(
        before in proptest::collection::vec((living(), 0_u64..30_000), 0..5),
    ) {
        let mut phases = before;
        phases.push((Node::Well, 5_000));
        phases.push((Node::Dead, 60_000));
        let lost = run(&phases, &[], false).expect("it is dead");
        prop_assert_eq!(lost.why, Loss::Gone);
        // A probe of before may be under way; then a beat, then the one that tells.
        prop_assert!(lost.after <= BOUNDS.beat * 2 + PROBE, "{:?}", lost.after);
    }

    #[test]
    fn a_node_cut_off_is_lost_when_its_term_is_over(
        before in proptest::collection::vec((living(), 0_u64..30_000), 0..5),
        stalls in stalls(),
    ) {
        let mut phases = before;
        phases.push((Node::CutOff, 2_000_000));
        let stood: u64 = stalls.iter().map(|(_, long)| long).sum();
        let lost = run(&phases, &stalls, false).expect("it is cut off");
        prop_assert_eq!(lost.why, Loss::Silent);
        // Its term and the probe that is next by then, anew after each time that we stood still.
        let most = (BOUNDS.lost_after + PROBE + BOUNDS.beat * 2) * (1 + stalls.len() as u32) + ms(stood);
        prop_assert!(lost.after <= most, "{:?}", lost.after);
        let least = BOUNDS.lost_after.saturating_sub(ms(5_000));
        prop_assert!(lost.after >= least, "{:?}", lost.after);
    }
}
