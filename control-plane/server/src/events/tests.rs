//! Subscribers over a real store, without a connection: cut off anywhere, slow, many, in virtual time where time matters.

#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use voicebridge_core::{
    identity::{Caller, PhoneNumber, Wacid},
    labels::Labels,
    payloads::Payloads,
    termination::{Termination, TerminationResult},
};
use voicebridge_proto::types::v1::{self as types, EventKind, event::Kind};

use super::*;
use crate::{
    convert,
    ids::example as id,
    store::{CallRow, Change, Holder, LAST_KIND, NewCall, NewEvent, Sqlite, Store, Write, Written},
};

const KEEPALIVE: Duration = Duration::from_secs(15);

fn only(kinds: &[EventKind]) -> Filter {
    let mut filter = Filter::default();
    kinds.iter().for_each(|kind| filter.kinds.add(*kind));
    filter
}

fn of(call_id: &str) -> Filter {
    Filter { call_id: Some(id(call_id)), ..Filter::default() }
}

struct World {
    source: Source,
    tail: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tail.abort();
    }
}

/// What a subscriber got: call, sequence and text of each event.
type Told = (String, u64, String);

impl World {
    async fn new() -> Self {
        Self::over(Arc::new(Sqlite::open("sqlite::memory:").await.unwrap()), 8).await
    }

    async fn over(store: Arc<dyn Store>, max_subscribers: usize) -> Self {
        let hub = Arc::new(Hub::new(store.last_position().await.unwrap(), max_subscribers));
        let tail = tokio::spawn(tail(Arc::clone(&hub), Arc::clone(&store)));
        Self { source: Source { hub, store, detach: CancellationToken::new(), keepalive: KEEPALIVE }, tail }
    }

    async fn claim(&self, call_id: &str) {
        let new = NewCall {
            call_id: id(call_id),
            wacid: Wacid::parse(call_id).unwrap(),
            holder: Holder::Managed,
            phase: "PLACING",
            phone_number_id: "106".to_owned(),
            caller: Caller { phone_number: PhoneNumber::parse("5511900000001"), ..Caller::default() },
            labels: Labels::default(),
            payloads: Payloads::default(),
            received_at_ms: 0,
            ring_until_ms: 0,
        };
        self.source.store.claim(&new).await.unwrap();
    }

    fn told(&self, position: u64) -> u64 {
        self.source.hub.stored(position);
        position
    }

    async fn store(&self, call_id: &str, event: NewEvent, change: Change) -> u64 {
        let write = Write { after: self.row(call_id).await.last_sequence, events: vec![event], change };
        match self.source.store.write(&id(call_id), &write).await.unwrap() {
            Written::Stored { position: Some(position) } => position,
            other => panic!("{call_id}: {other:?}"),
        }
    }

    /// An event with a text, as the call's task would store it, before anybody is told.
    async fn write(&self, call_id: &str, text: &str) -> u64 {
        let transcript = types::Transcript { text: text.to_owned(), ..types::Transcript::default() };
        let event = types::Event {
            call_id: call_id.to_owned(),
            kind: Some(Kind::Transcript(transcript)),
            ..types::Event::default()
        };
        let row = convert::event_to_row(event, 0, None).unwrap();
        self.store(call_id, row, Change::default()).await
    }

    async fn say(&self, call_id: &str, text: &str) -> u64 {
        self.told(self.write(call_id, text).await)
    }

    async fn close(&self, call_id: &str) -> u64 {
        let event = types::Event {
            call_id: call_id.to_owned(),
            kind: Some(Kind::CallEnded(types::CallEnded::default())),
            ..types::Event::default()
        };
        let payload = prost::Message::encode_to_vec(&event);
        let last = NewEvent { kind: LAST_KIND, occurred_at_ms: 0, node_sequence: None, payload };
        let gone = Termination::new(TerminationResult::Completed, "X", "");
        let change = Change { termination: Some(gone), ended_at_ms: Some(0), ..Change::default() };
        self.store(call_id, last, change).await
    }

    async fn end(&self, call_id: &str) -> u64 {
        self.told(self.close(call_id).await)
    }

    async fn row(&self, call_id: &str) -> CallRow {
        self.source.store.call(&id(call_id)).await.unwrap().unwrap()
    }

    fn whisper(&self, row: &CallRow, text: &str, after: u64) {
        let partial = types::PartialTranscript { delta: text.to_owned(), ..types::PartialTranscript::default() };
        let event = types::Event {
            call_id: row.call_id.as_str().to_owned(),
            kind: Some(Kind::PartialTranscript(partial)),
            ..types::Event::default()
        };
        self.source.hub.transient(Entry::transient(row, event, after));
    }

    fn subscribe(&self, filter: Filter, begin: Begin) -> Subscriber {
        Subscriber::new(self.source.clone(), filter, begin).unwrap()
    }
}

fn text(entry: &Entry) -> Told {
    let event = entry.event.as_ref().unwrap();
    let text = match event.kind.as_ref().unwrap() {
        Kind::Transcript(transcript) => transcript.text.clone(),
        Kind::PartialTranscript(partial) => format!("...{}", partial.delta),
        Kind::CallEnded(_) => "end".to_owned(),
        other => panic!("{other:?}"),
    };
    (event.call_id.clone(), event.sequence, text)
}

async fn next(subscriber: &mut Subscriber) -> Option<Delivery> {
    let next = tokio::time::timeout(Duration::from_secs(600), subscriber.next()).await;
    next.expect("a delivery").map(|delivery| delivery.unwrap())
}

/// The next `count` texts.
async fn texts(subscriber: &mut Subscriber, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let delivery = next(subscriber).await.expect("the stream goes on");
        texts.extend(delivery.entry.map(|entry| text(&entry).2));
    }
    texts
}

#[tokio::test]
async fn transient_events_keep_their_place_among_the_durable_ones() {
    let world = World::new().await;
    world.claim("a").await;
    let row = world.row("a").await;
    let mut all = world.subscribe(Filter::default(), Begin::Now);
    let mut one = world.subscribe(of("a"), Begin::Oldest);
    let mut durable = world.subscribe(only(&[EventKind::Transcript]), Begin::Now);
    let mut other = world.subscribe(of("b"), Begin::Oldest);
    world.whisper(&row, "1", 0);
    let first = world.say("a", "one").await;
    world.whisper(&row, "2", first);
    let second = world.say("a", "two").await;
    world.whisper(&row, "3", second);
    world.whisper(&row, "4", second);
    world.end("a").await;
    let expected = ["...1", "one", "...2", "two", "...3", "...4", "end"];
    assert_eq!(texts(&mut all, expected.len()).await, expected);
    assert_eq!(texts(&mut one, expected.len()).await, expected);
    assert!(next(&mut one).await.is_none(), "the call has ended");
    assert_eq!(texts(&mut durable, 2).await, ["one", "two"]);
    assert!(next(&mut other).await.unwrap().is_first);
    assert!(tokio::time::timeout(Duration::from_millis(50), other.next()).await.is_err(), "another call's");
}

#[tokio::test]
async fn whoever_does_not_read_loses_transient_events_only_and_is_told_how_many() {
    // More than the ring holds, because each is long.
    const DURABLE: usize = 300;
    const LENGTH: usize = 20_000;
    const TRANSIENT: u64 = 1_000;
    let world = World::new().await;
    world.claim("a").await;
    let row = world.row("a").await;
    let mut slow = world.subscribe(Filter::default(), Begin::Now);
    let mut one = world.subscribe(of("a"), Begin::Now);
    let mut quick = world.subscribe(Filter::default(), Begin::Now);
    let mut last = world.say("a", "0").await;
    for subscriber in [&mut slow, &mut one, &mut quick] {
        assert_eq!(texts(subscriber, 1).await, ["0"]);
        // It waits for more, so it was at the head.
        assert!(tokio::time::timeout(Duration::from_millis(1), subscriber.next()).await.is_err());
    }
    let expect: Vec<String> = (1..=DURABLE).map(|n| format!("{n:LENGTH$}")).collect();
    for text in &expect {
        last = world.say("a", text).await;
        // Somebody keeps the ring turning.
        assert_eq!(texts(&mut quick, 1).await, [text.as_str()]);
    }
    for n in 0..TRANSIENT {
        world.whisper(&row, &n.to_string(), last);
    }
    for subscriber in [&mut slow, &mut one] {
        let (mut got, mut missed, mut markers) = (Vec::new(), 0, 0);
        while got.last().is_none_or(|text| *text != format!("...{}", TRANSIENT - 1)) {
            let delivery = next(subscriber).await.unwrap();
            missed += delivery.lagged.unwrap_or(0);
            markers += usize::from(delivery.lagged.is_some());
            got.extend(delivery.entry.map(|entry| text(&entry).2));
        }
        assert!(got[..DURABLE] == expect, "durable ones all, in order");
        assert_eq!((got.len() - DURABLE) as u64 + missed, TRANSIENT, "each was sent or counted");
        assert!(missed > 0 && markers <= 2, "{missed} missed, told {markers} times");
    }
    let (mut got, mut missed) = (0, 0);
    while got + missed < TRANSIENT {
        let delivery = next(&mut quick).await.unwrap();
        missed += delivery.lagged.unwrap_or(0);
        got += u64::from(delivery.entry.is_some());
    }
}

#[tokio::test]
async fn keepalives_carry_the_cursor_past_what_is_filtered() {
    const SHORT: Duration = Duration::from_millis(20);
    let world = World::new().await;
    world.claim("a").await;
    world.claim("b").await;
    let source = Source { keepalive: SHORT, ..world.source.clone() };
    let mut ends = Subscriber::new(source, only(&[EventKind::CallEnded]), Begin::Oldest).unwrap();
    let begun = next(&mut ends).await.unwrap();
    assert!(begun.is_first && begun.entry.is_none());
    assert_eq!(begun.position, 0);
    let mut passed = 0;
    for n in 0..10 {
        passed = world.say("a", &n.to_string()).await;
    }
    let (mut seen, mut alive) = (0, 0);
    let mut before = tokio::time::Instant::now();
    while seen < passed || alive < 3 {
        let delivery = next(&mut ends).await.unwrap();
        assert!(delivery.entry.is_none() && !delivery.is_first && delivery.lagged.is_none());
        assert!(alive == 0 || before.elapsed() >= SHORT, "{:?}", before.elapsed());
        assert!((seen..=passed).contains(&delivery.position));
        (before, seen, alive) = (tokio::time::Instant::now(), delivery.position, alive + 1);
    }
    let last = world.end("a").await;
    let delivery = loop {
        let delivery = next(&mut ends).await.unwrap();
        if delivery.entry.is_some() {
            break delivery;
        }
    };
    assert_eq!((delivery.entry.map(|entry| text(&entry).2), delivery.position), (Some("end".to_owned()), last));
}

#[tokio::test]
async fn there_is_room_again_when_a_subscriber_goes() {
    let world = World::over(Arc::new(Sqlite::open("sqlite::memory:").await.unwrap()), 2).await;
    let one = world.subscribe(of("a"), Begin::Oldest);
    let _two = world.subscribe(Filter::default(), Begin::Now);
    assert!(Subscriber::new(world.source.clone(), Filter::default(), Begin::Now).is_err());
    drop(one);
    drop(world.subscribe(of("b"), Begin::Now));
    drop(world.subscribe(of("b"), Begin::Now));
}

#[tokio::test]
async fn a_closed_call_ends_from_wherever_one_begins() {
    let world = World::new().await;
    world.claim("a").await;
    world.claim("b").await;
    let first = world.say("a", "one").await;
    world.say("b", "other").await;
    let last = world.end("a").await;
    let beyond = world.say("b", "later").await;
    for (filter, begin, expect) in [
        (of("a"), Begin::Oldest, &["one", "end"][..]),
        (of("a"), Begin::After(first), &["end"]),
        (of("a"), Begin::After(last), &[]),
        (of("a"), Begin::After(beyond), &[]),
        (of("a"), Begin::Now, &[]),
        (Filter { kinds: only(&[EventKind::Transcript]).kinds, ..of("a") }, Begin::Oldest, &["one"]),
        (Filter { kinds: only(&[EventKind::Incident]).kinds, ..of("a") }, Begin::Oldest, &[]),
    ] {
        let mut subscriber = world.subscribe(filter, begin);
        subscriber.set_closed();
        let mut got = Vec::new();
        while let Some(delivery) = next(&mut subscriber).await {
            got.extend(delivery.entry.map(|entry| text(&entry).2));
        }
        assert_eq!(got, expect, "{begin:?}");
    }
    // And live: the end is passed even if it is not wanted.
    world.claim("c").await;
    let mut live = world.subscribe(Filter { kinds: only(&[EventKind::Incident]).kinds, ..of("c") }, Begin::Oldest);
    assert!(next(&mut live).await.unwrap().is_first);
    world.end("c").await;
    assert!(next(&mut live).await.is_none());
}

#[tokio::test]
async fn whoever_comes_after_the_last_one_left_is_told_of_what_was_stored_between() {
    let world = World::new().await;
    world.claim("a").await;
    let mut leaving = world.subscribe(Filter::default(), Begin::Now);
    let first = world.say("a", "one").await;
    assert_eq!(texts(&mut leaving, 1).await, ["one"]);
    let between = world.write("a", "two").await;
    // Told of, and gone before the one who reads along has had its turn: then it finds nobody to read for.
    world.told(between);
    drop(leaving);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut coming = world.subscribe(Filter::default(), Begin::After(first));
    let told = tokio::time::timeout(Duration::from_secs(10), texts(&mut coming, 1)).await;
    assert_eq!(told.expect("not only once more is stored"), ["two"]);
}

#[tokio::test]
async fn a_closed_call_is_told_whole_though_nobody_has_read_along_yet() {
    let world = World::new().await;
    world.claim("a").await;
    let mut neighbour = world.subscribe(Filter::default(), Begin::Now);
    let first = world.say("a", "one").await;
    assert_eq!(texts(&mut neighbour, 1).await, ["one"]);
    world.write("a", "two").await;
    let last = world.close("a").await;
    world.told(last);
    // From here to the end of the stream the one who reads along has no turn.
    let mut subscriber = world.subscribe(of("a"), Begin::After(first));
    subscriber.set_closed();
    let mut got = Vec::new();
    while let Some(delivery) = next(&mut subscriber).await {
        got.extend(delivery.entry.map(|entry| text(&entry).2));
    }
    assert_eq!(got, ["two", "end"]);
}

#[tokio::test]
async fn a_shutdown_ends_every_stream() {
    let world = World::new().await;
    world.claim("a").await;
    let mut subscriber = world.subscribe(of("a"), Begin::Oldest);
    assert!(next(&mut subscriber).await.unwrap().is_first);
    let (ended, ()) = tokio::join!(subscriber.next(), async { world.source.detach.cancel() });
    assert!(matches!(ended, Some(Err(End::Draining))));
    assert!(subscriber.next().await.is_none());
}

/// What happens, in order.
#[derive(Clone, Debug)]
enum Act {
    Say(u8),
    End(u8),
    /// The subscriber takes this many deliveries if they are there.
    Take(u8),
    /// Its connection breaks; it comes back with its last cursor.
    Cut,
    /// Another subscriber comes or goes, so that the ring begins anew now and then.
    Neighbour,
    /// Everybody goes, the process is another one.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0..3_u8).prop_map(Act::Say),
        1 => (0..3_u8).prop_map(Act::End),
        6 => (0..6_u8).prop_map(Act::Take),
        2 => Just(Act::Cut),
        1 => Just(Act::Neighbour),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(act, 1..60)
}

/// A subscriber that keeps what it got and its cursor.
struct Reader {
    filter: Filter,
    position: u64,
    subscriber: Option<Subscriber>,
    got: Vec<Told>,
}

impl Reader {
    fn connect(&mut self, world: &World) {
        if self.subscriber.is_none() {
            self.subscriber = Some(world.subscribe(self.filter.clone(), Begin::After(self.position)));
        }
    }

    async fn take(&mut self, deliveries: usize, patience: Duration) -> bool {
        for _ in 0..deliveries {
            let Some(subscriber) = &mut self.subscriber else { return false };
            let Ok(next) = tokio::time::timeout(patience, subscriber.next()).await else { return false };
            let Some(delivery) = next else { return false };
            let delivery = delivery.unwrap();
            self.position = delivery.position;
            self.got.extend(delivery.entry.map(|entry| text(&entry)));
        }
        true
    }
}

async fn play(acts: Vec<Act>) {
    // In a file, because reading is given up halfway now and then.
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("calls.db").display());
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&url).await.unwrap());
    let mut world = World::over(Arc::clone(&store), 8).await;
    let calls = ["a", "b", "c"];
    let mut live = [true; 3];
    for call in calls {
        world.claim(call).await;
    }
    let filters = [Filter::default(), of("a"), only(&[EventKind::CallEnded])];
    let mut readers: Vec<Reader> =
        filters.map(|filter| Reader { filter, position: 0, subscriber: None, got: Vec::new() }).into();
    let mut neighbour = None;
    let mut stored: Vec<Told> = Vec::new();
    let mut sequences = [0; 3];
    for act in acts {
        readers.iter_mut().for_each(|reader| reader.connect(&world));
        match act {
            Act::Say(call) | Act::End(call) if live[usize::from(call)] => {
                let call = usize::from(call);
                sequences[call] += 1;
                if matches!(act, Act::Say(_)) {
                    world.say(calls[call], &stored.len().to_string()).await;
                    stored.push((id(calls[call]).as_str().to_owned(), sequences[call], stored.len().to_string()));
                } else {
                    world.end(calls[call]).await;
                    live[call] = false;
                    stored.push((id(calls[call]).as_str().to_owned(), sequences[call], "end".to_owned()));
                }
            }
            Act::Say(_) | Act::End(_) => {}
            Act::Take(deliveries) => {
                for reader in &mut readers {
                    reader.take(usize::from(deliveries), Duration::from_millis(1)).await;
                }
            }
            Act::Cut => readers.iter_mut().for_each(|reader| reader.subscriber = None),
            Act::Neighbour if neighbour.is_none() => neighbour = Some(world.subscribe(Filter::default(), Begin::Now)),
            Act::Neighbour => neighbour = None,
            Act::Restart => {
                neighbour = None;
                readers.iter_mut().for_each(|reader| reader.subscriber = None);
                world = World::over(Arc::clone(&store), 8).await;
            }
        }
    }
    for reader in &mut readers {
        reader.connect(&world);
        let expect: Vec<Told> = stored
            .iter()
            .filter(|told| reader.filter.call_id.is_none() || told.0 == id("a").as_str())
            .filter(|told| reader.filter.kinds == Kinds::default() || told.2 == "end")
            .cloned()
            .collect();
        while reader.got.len() < expect.len() && reader.take(1, Duration::from_secs(20)).await {}
        // Nothing comes after it.
        reader.take(4, Duration::from_millis(1)).await;
        assert_eq!(reader.got, expect, "{:?}", reader.filter);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever streams are cut off, what they tell together is what is stored, in order and once.
    #[test]
    fn streams_cut_off_anywhere_tell_everything_once(acts in acts()) {
        Runtime::new().unwrap().block_on(play(acts));
    }
}
