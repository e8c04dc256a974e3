#![allow(clippy::unwrap_used)]

use super::*;

const BEAT: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

fn beat(id: &str) -> Beat {
    Beat {
        node_id: id.to_owned(),
        region: "sa".to_owned(),
        url: format!("http://{id}:3200"),
        live_sessions: 1,
        max_sessions: 10,
        draining: false,
        media_load: 0.0,
        version: String::new(),
        provider: String::new(),
        media_threads: 1,
        media_threads_lost: 0,
    }
}

/// A registry looked at four times a beat, in virtual time.
struct World {
    registry: Registry,
    start: Instant,
    now: Instant,
    /// Nodes whose process is gone; probes of others are answered with the secret given here, or not at all.
    gone: Vec<&'static str>,
    answers: Vec<(&'static str, SecretHash)>,
    probed: usize,
    lost: Vec<LostNode>,
}

fn secret(text: &str) -> SecretHash {
    SecretHash::of(text.as_bytes())
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let registry = Registry::new(BEAT, LIMIT);
        registry.sweep(now);
        Self { registry, start: now, now, gone: Vec::new(), answers: Vec::new(), probed: 0, lost: Vec::new() }
    }

    fn beat(&self, stream: u64, id: &str) -> Result<bool, IdTaken> {
        self.registry.beat(stream, beat(id), &secret(id), self.now)
    }

    /// Looks until `for_long` has passed; probes are over at once, those without an answer too.
    fn go_on(&mut self, for_long: Duration) {
        let end = self.now + for_long;
        while self.now < end {
            self.now += LOOK;
            self.look();
        }
    }

    /// Nothing is done for a while, and then a look.
    fn stand_still(&mut self, for_long: Duration) {
        self.now += for_long;
        self.look();
    }

    fn look(&mut self) {
        let sweep = self.registry.sweep(self.now);
        self.lost.extend(sweep.lost);
        for due in sweep.probes {
            self.probed += 1;
            let answer = self.answers.iter().find(|(id, _)| *id == due.node_id);
            let outcome = match answer {
                _ if self.gone.contains(&due.node_id.as_str()) => ProbeOutcome::Gone,
                Some((_, found)) if due.secret.is_some_and(|owner| owner != *found) => ProbeOutcome::Gone,
                Some((_, found)) => ProbeOutcome::Answered(Some(*found)),
                None => ProbeOutcome::Unanswered,
            };
            self.lost.extend(self.registry.probed(&due, outcome, self.now));
        }
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }
}

fn lost(id: &str, why: Loss) -> LostNode {
    LostNode { node_id: id.to_owned(), why, drained: false }
}

#[test]
fn ten_missed_beats_and_no_answer_lose_a_node() {
    let mut world = World::new();
    assert_eq!(world.beat(1, "a"), Ok(true));
    let watched = world.registry.liveness("a").unwrap();
    world.go_on(LIMIT);
    assert_eq!((world.lost.as_slice(), *watched.borrow()), (&[][..], Liveness::Alive));
    assert!(world.probed >= 8, "asked after each of the missed beats: {}", world.probed);
    world.go_on(BEAT * 2);
    assert_eq!(world.lost, [lost("a", Loss::Silent)]);
    assert_eq!(*watched.borrow(), Liveness::Lost);
    assert!(world.registry.liveness("a").is_none() && world.registry.count() == 0);
    assert_eq!(world.beat(2, "a"), Ok(true), "a new registration");
    assert_eq!(*watched.borrow(), Liveness::Lost, "the old one stays lost");
}

#[test]
fn a_node_whose_process_is_gone_is_lost_at_once() {
    let mut world = World::new();
    world.beat(1, "a").unwrap();
    world.gone.push("a");
    world.registry.disconnected(1, "a");
    world.go_on(LOOK);
    assert_eq!(world.lost, [lost("a", Loss::Gone)]);
}

#[test]
fn a_node_that_drained_to_its_end_has_left_and_one_with_calls_is_lost() {
    for drained in [true, false] {
        let mut world = World::new();
        let beat = Beat { draining: true, ..beat("a") };
        world.registry.beat(1, beat, &secret("a"), world.now).unwrap();
        let _call = (!drained).then(|| world.registry.liveness("a").unwrap());
        world.gone.push("a");
        world.registry.disconnected(1, "a");
        world.go_on(LOOK);
        assert_eq!(world.lost, [LostNode { drained, ..lost("a", Loss::Gone) }]);
    }
}

#[test]
fn events_and_answers_are_beats() {
    let mut world = World::new();
    world.beat(1, "a").unwrap();
    world.registry.disconnected(1, "a");
    let watched = world.registry.liveness("a").unwrap();
    // Statistics of a call; no probe is answered.
    for _ in 0..12 {
        world.go_on(LIMIT / 2);
        world.registry.heard("http://a:3200", world.now);
    }
    assert_eq!((world.lost.as_slice(), *watched.borrow()), (&[][..], Liveness::Alive));
    // Without any registration, probes suffice.
    world.answers.push(("a", secret("a")));
    world.go_on(LIMIT * 10);
    assert_eq!((world.lost.as_slice(), *watched.borrow()), (&[][..], Liveness::Alive));
    world.answers.clear();
    world.go_on(LIMIT + BEAT * 2);
    assert_eq!(world.lost, [lost("a", Loss::Silent)]);
}

#[test]
fn a_pause_of_our_own_loses_nobody() {
    let mut world = World::new();
    let ids = ["a", "b", "c"];
    for (stream, id) in (0..).zip(ids) {
        world.beat(stream, id).unwrap();
    }
    let watched = ids.map(|id| world.registry.liveness(id).unwrap());
    world.go_on(BEAT);
    for _ in 0..5 {
        world.stand_still(LIMIT * 6);
        world.go_on(LIMIT / 2);
    }
    assert_eq!(world.lost, []);
    assert!(watched.iter().all(|watched| *watched.borrow() == Liveness::Alive));
    assert!(world.elapsed() > LIMIT * 30);
    // Those who do not come back are lost a whole term after it.
    world.go_on(LIMIT);
    assert_eq!(world.lost.len(), 3);
}

#[test]
fn a_node_without_a_stream_takes_no_calls_but_keeps_its_own() {
    let world = World::new();
    world.beat(1, "a").unwrap();
    let watched = world.registry.liveness("a").unwrap();
    world.registry.disconnected(1, "a");
    assert!(!world.registry.views()[0].alive);
    assert_eq!(*watched.borrow(), Liveness::Alive);
    assert_eq!(world.beat(2, "a"), Ok(false));
    world.registry.disconnected(1, "a");
    assert!(world.registry.views()[0].alive, "the end of an old stream is no news");
}

#[test]
fn a_node_without_registration_and_without_calls_is_forgotten() {
    let mut world = World::new();
    world.answers.push(("a", secret("a")));
    world.beat(1, "a").unwrap();
    world.registry.disconnected(1, "a");
    world.go_on(LIMIT);
    assert_eq!(world.registry.count(), 1);
    world.go_on(LOOK);
    assert_eq!((world.registry.count(), world.lost.len()), (0, 0));
    // It may come back, and nobody else as it.
    assert_eq!(world.registry.beat(2, beat("a"), &secret("another"), world.now), Err(IdTaken));
    assert_eq!(world.beat(3, "a"), Ok(true));
}

#[test]
fn a_node_of_before_our_start_is_known_by_its_calls() {
    let mut world = World::new();
    let term = LIMIT + Duration::from_secs(7);
    let watched = world.registry.watch("a", "http://a:3200", term, world.now);
    assert_eq!((world.registry.count(), world.registry.views().len()), (0, 0), "it may not get calls");
    // Until it has said itself who it is, nobody may be it.
    assert_eq!(world.beat(1, "a"), Err(IdTaken));
    world.answers.push(("a", secret("a")));
    world.go_on(LIMIT * 10);
    assert_eq!(*watched.borrow(), Liveness::Alive);
    assert_eq!(world.registry.beat(1, beat("a"), &secret("another"), world.now), Err(IdTaken));
    assert_eq!(world.beat(2, "a"), Ok(true));
    assert_eq!(world.registry.count(), 1);
    world.answers.clear();
    world.go_on(LIMIT + BEAT * 2);
    assert_eq!(*watched.borrow(), Liveness::Lost);
}

#[test]
fn one_that_fell_silent_is_known_by_its_secret_when_a_call_names_it_again() {
    let mut world = World::new();
    world.beat(1, "a").unwrap();
    let lost = world.registry.liveness("a").unwrap();
    world.go_on(LIMIT + BEAT * 2);
    assert_eq!(*lost.borrow(), Liveness::Lost);
    let watched = world.registry.watch("a", "http://a:3200", LIMIT, world.now);
    world.answers.push(("a", secret("another")));
    assert_eq!(world.registry.beat(2, beat("a"), &secret("another"), world.now), Err(IdTaken));
    // Another process answers at its address: the id is free, and the calls are lost.
    world.go_on(LOOK);
    assert_eq!(*watched.borrow(), Liveness::Lost);
    assert_eq!(world.registry.beat(2, beat("a"), &secret("another"), world.now), Ok(true));
}

#[test]
fn one_that_does_not_come_back_is_lost_when_its_longer_term_is_over() {
    let mut world = World::new();
    let term = LIMIT + Duration::from_secs(7);
    let watched = world.registry.watch("a", "http://a:3200", term, world.now);
    let gone = world.registry.watch("b", "http://b:3200", term, world.now);
    world.gone.push("b");
    world.go_on(BEAT);
    assert_eq!((*watched.borrow(), *gone.borrow()), (Liveness::Alive, Liveness::Lost));
    world.go_on(term - BEAT);
    assert_eq!(*watched.borrow(), Liveness::Alive);
    world.go_on(BEAT * 2);
    assert_eq!(*watched.borrow(), Liveness::Lost);
}

#[test]
fn an_id_stays_with_its_secret() {
    let mut world = World::new();
    world.answers.push(("a", secret("a")));
    world.beat(1, "a").unwrap();
    world.go_on(BEAT);
    let elsewhere = Beat { url: "http://elsewhere:3200".to_owned(), ..beat("a") };
    assert_eq!(world.registry.beat(2, elsewhere, &secret("another"), world.now), Err(IdTaken));
    assert_eq!(world.registry.url("a").as_deref(), Some("http://a:3200"));
    // The owner is asked, says that it is there, and keeps the id.
    world.go_on(BEAT);
    assert!(world.probed > 0);
    assert_eq!(world.registry.beat(2, beat("a"), &secret("another"), world.now), Err(IdTaken));
    // It may open a second stream, and move.
    let moved = Beat { url: "http://moved:3200".to_owned(), ..beat("a") };
    assert_eq!(world.registry.beat(3, moved, &secret("a"), world.now), Ok(false));
    assert_eq!(world.registry.url("a").as_deref(), Some("http://moved:3200"));
}

#[test]
fn an_id_is_free_when_its_process_is_proven_gone() {
    let mut world = World::new();
    world.beat(1, "a").unwrap();
    let watched = world.registry.liveness("a").unwrap();
    // Started again with the same id at the same address: another secret answers there.
    world.answers.push(("a", secret("restarted")));
    assert_eq!(world.registry.beat(2, beat("a"), &secret("restarted"), world.now), Err(IdTaken));
    world.go_on(BEAT);
    assert_eq!(world.lost, [lost("a", Loss::Gone)]);
    assert_eq!(*watched.borrow(), Liveness::Lost, "its calls are");
    assert_eq!(world.registry.beat(2, beat("a"), &secret("restarted"), world.now), Ok(true));
}

#[test]
fn who_takes_over_an_address_is_no_sign_of_who_had_it() {
    let mut world = World::new();
    world.beat(1, "a").unwrap();
    let watched = world.registry.liveness("a").unwrap();
    let next = Beat { url: "http://a:3200".to_owned(), ..beat("b") };
    assert_eq!(world.registry.beat(2, next.clone(), &secret("b"), world.now), Ok(true));
    world.gone.push("a");
    world.registry.heard("http://a:3200", world.now + Duration::from_millis(1));
    world.go_on(LOOK);
    assert_eq!(*watched.borrow(), Liveness::Lost);
    assert_eq!(world.registry.count(), 1);
}

#[test]
fn placed_calls_count_at_once() {
    let world = World::new();
    world.beat(1, "a").unwrap();
    world.registry.placed("a");
    world.registry.placed("nobody");
    assert_eq!(world.registry.views()[0].live_sessions, 2);
    let counted = Beat { live_sessions: 2, ..beat("a") };
    world.registry.beat(1, counted, &secret("a"), world.now).unwrap();
    assert_eq!(world.registry.views()[0].live_sessions, 2);
}
