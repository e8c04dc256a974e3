//! The whole provider on the wire, from seeds: a server that says anything about any response at any time, a caller who
//! speaks when he likes. What the queue promises holds for what is really sent and reported.

use super::*;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// Who has the floor, since when.
#[derive(Clone, Copy, PartialEq)]
enum Floor {
    Free,
    Speaking(Time),
    Unanswered(Time),
}

struct Walk {
    bench: Bench,
    dice: Dice,
    floor: Floor,
    /// The response that is being generated, as far as it was told.
    active: Option<String>,
    over: Vec<String>,
    /// Creates looked at, and those among them that came before the latest interruption.
    creates: usize,
    stale: usize,
    events: usize,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::ready();
        // The server repeats metadata, and has shown it.
        bench.command(ProviderCommand::Say("first"));
        let create = bench.create().0;
        bench.created("R_1_1", Some(&create));
        bench.done("R_1_1", "completed");
        let events = bench.events.len();
        let over = vec!["R_1_1".to_owned()];
        Self { bench, dice: Dice(seed), floor: Floor::Free, active: None, over, creates: 1, stale: 1, events }
    }

    fn run(mut self, seed: u64) {
        for _ in 0..80 {
            self.step();
            self.check(seed);
        }
        // Nobody says anything any more.
        for _ in 0..40 {
            self.bench.wait_ms(5_000);
            self.check(seed);
        }
        assert_eq!(self.bench.provider.deadline(), None, "seed {seed}: something is still waited for");
    }

    /// A response: the server's own, or that of a create. Its id, and the create.
    fn response(&mut self) -> (String, Option<Value>) {
        let creates = self.bench.sent("response.create");
        match self.dice.roll(creates.len() + 2) {
            index if index < creates.len() => {
                let event_id = creates[index]["event_id"].as_str().unwrap();
                (event_id.replace("vb_response", "R"), Some(creates[index].clone()))
            }
            _ => (format!("V{}", self.dice.roll(4)), None),
        }
    }

    fn step(&mut self) {
        let (id, create) = self.response();
        match self.dice.roll(16) {
            0 => self.bench.command(ProviderCommand::Say("words")),
            1 => {
                if matches!(self.floor, Floor::Unanswered(_)) {
                    self.floor = Floor::Free;
                }
                self.bench.command(ProviderCommand::Reply);
            }
            2 => self.bench.command(ProviderCommand::InjectText("text")),
            3 => {
                self.bench.command(ProviderCommand::Interrupt(&[]));
                self.stale = self.bench.create().1;
            }
            4 => {
                self.floor = Floor::Speaking(self.bench.now);
                self.bench.caller_speaks();
            }
            5 => {
                self.floor = Floor::Unanswered(self.bench.now);
                self.bench.caller_stops();
            }
            6..=8 => self.created(&id, create.as_ref()),
            9 | 10 => self.done(&id, create.as_ref()),
            11 => {
                let refusals = ["conversation_already_has_active_response", "rate_limit_exceeded", "server_error"];
                let code = refusals[self.dice.roll(3)];
                self.bench.error(code, "", create.as_ref());
            }
            12 | 13 => self.delta(&id, create.as_ref()),
            _ => {
                let ms = 100 * self.dice.roll(30) as u64;
                self.bench.wait_ms(ms);
            }
        }
    }

    fn created(&mut self, id: &str, create: Option<&Value>) {
        if !self.over.iter().any(|over| over == id) && self.active.as_deref() != Some(id) {
            self.over.extend(self.active.replace(id.to_owned()));
            if create.is_none() && matches!(self.floor, Floor::Unanswered(_)) {
                self.floor = Floor::Free;
            }
        }
        self.bench.created(id, create);
    }

    fn done(&mut self, id: &str, create: Option<&Value>) {
        self.active.take_if(|active| *active == id);
        if !self.over.iter().any(|over| over == id) {
            self.over.push(id.to_owned());
            if create.is_none() && matches!(self.floor, Floor::Unanswered(_)) {
                self.floor = Floor::Free;
            }
        }
        let metadata = create.map_or(Value::Null, |create| create["response"]["metadata"].clone());
        let status = ["completed", "cancelled", "incomplete"][self.dice.roll(3)];
        self.bench
            .server(json!({"type": "response.done", "response": {"id": id, "status": status, "metadata": metadata}}));
    }

    /// Audio of what is being generated; of a create before an interruption none is to be heard.
    fn delta(&mut self, id: &str, create: Option<&Value>) {
        if self.active.as_deref() != Some(id) {
            return;
        }
        let before = self.bench.heard().len();
        self.bench.delta(id, &format!("A{id}"), &[1, 0]);
        let creates = self.bench.sent("response.create");
        let stale = creates[..self.stale].iter().any(|stale| Some(stale) == create);
        assert!(!stale || self.bench.heard().len() == before, "{id} was interrupted and is heard");
    }

    fn check(&mut self, seed: u64) {
        for event in self.bench.events.iter().skip(self.events) {
            // Given up by the provider.
            if let ProviderEvent::ResponseFinished { response_id, status_reason, .. } = event
                && status_reason == "response_timeout"
            {
                self.active.take_if(|active| active == response_id);
                self.over.push(response_id.clone());
            }
        }
        self.events = self.bench.events.len();
        let now = self.bench.now;
        let creates = self.bench.sent("response.create");
        for create in &creates[self.creates..] {
            let event_id = create["event_id"].as_str().unwrap();
            let attempt: u32 = event_id.rsplit('_').next().unwrap().parse().unwrap();
            assert!((1..=3).contains(&attempt), "seed {seed}: {event_id}");
            assert_eq!(self.active, None, "seed {seed}: {event_id} is sent while a response is active");
            let free = match self.floor {
                Floor::Free => true,
                Floor::Speaking(since) => now.since(since) >= Duration::from_secs(60),
                Floor::Unanswered(since) => now.since(since) >= Duration::from_secs(4),
            };
            assert!(free, "seed {seed}: {event_id} is sent over the caller");
        }
        self.creates = creates.len();
        assert_eq!(self.bench.failure(), None, "seed {seed}");
    }
}

#[test]
fn what_is_sent_and_reported_keeps_the_promises() {
    (0..300).for_each(|seed| Walk::new(seed).run(seed));
}
