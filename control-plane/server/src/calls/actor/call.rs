//! One call: its parts, and what passes from one to the other.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tonic::Status;
use voicebridge_core::{
    call_life::{DeadlineKind, Effect, Event, GraphAction, GraphOutcome, Sdp, Step},
    termination::{Termination, TerminationResult, reason},
};
use voicebridge_proto::types::v1::{self as types, event::Kind};

use super::{
    deadlines::Deadlines,
    graph_requests::{Ask, GraphRequests},
    input::{Done, Input, Next, Reporter},
    life::Life,
    placing::{Attempt, Placing, judge},
    record::{Heard, Record},
    report,
    request::Request,
    results,
    shown::Shown,
    work::Work,
};
use crate::{
    calls::{
        CallError,
        environment::Environment,
        handle::{Message, View},
        offer::{Offer, OfferAnswer},
    },
    clock::now_ms,
    config::Limits,
    convert,
    events::{Entry, Hub},
    nodes::NodeNews,
    store::{CallRow, NewEvent, Written},
};

/// See the module.
pub(super) struct Call {
    limits: Limits,
    hub: Arc<Hub>,
    life: Life,
    deadlines: Deadlines,
    record: Record,
    /// Asked for by steps that are not written yet.
    held: Vec<Request>,
    placing: Placing,
    graph: GraphRequests,
    work: Work,
    shown: Shown,
}

impl Call {
    /// To be made in the call's span.
    pub(super) fn new(environment: Environment, row: CallRow, offer: Option<Offer>, view: watch::Sender<View>) -> Self {
        let Environment { store, hub, ports, limits, lifetime } = environment;
        Self {
            life: Life::new(row.holder.signalling()),
            deadlines: Deadlines::new(&row, &limits),
            held: Vec::new(),
            placing: Placing::new(offer),
            graph: GraphRequests::new(limits.ending),
            work: Work::new(ports, lifetime),
            shown: Shown::new(view),
            record: Record::new(store, row),
            limits,
            hub,
        }
    }

    /// Takes the first step; `events` follow at once.
    pub(super) fn begin(&mut self, step: Step, events: Vec<Event>) {
        // There is a session to hear of, unless it is known to be over.
        if !events.iter().any(|event| matches!(event, Event::SessionEnded(_))) {
            self.follow(self.limits.node_lost() + self.limits.restore_grace);
        }
        let effects = self.life.begin(step);
        self.take(effects, Vec::new(), None);
        events.into_iter().for_each(|event| self.feed(event, Vec::new()));
    }

    pub(super) const fn life(&self) -> &Life {
        &self.life
    }

    pub(super) fn is_written(&self) -> bool {
        self.record.is_written()
    }

    /// There is nothing left to do.
    pub(super) fn is_closed(&self) -> bool {
        self.life.is_ended() && self.record.is_written()
    }

    pub(super) fn show_closed(&self) {
        self.shown.close(self.record.row());
    }

    pub(super) fn set_deadline(&mut self, kind: DeadlineKind) {
        self.deadlines.set(kind);
    }

    /// What comes next of what is under way. Nothing is lost when this is given up and called again.
    pub(super) async fn next(&mut self) -> Next {
        let deadline = self.deadlines.next();
        let writing = !self.record.is_written();
        let (record, work) = (&mut self.record, &mut self.work);
        // While something is being written the node keeps its news.
        let done = async { if writing { work.done().await } else { work.done_or_news().await } };
        let due = async {
            match deadline {
                Some((kind, at)) => {
                    tokio::time::sleep_until(at).await;
                    kind
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            written = record.written(), if writing => Next::Written(written),
            done = done => Next::Input(done),
            kind = due => {
                self.deadlines.clear(kind);
                Next::Input(Input::Deadline(kind))
            }
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        match input {
            Input::Done(done) => self.finished(done),
            Input::News(news) => self.hear(news),
            Input::Message(message) => self.told(message),
            Input::Deadline(kind) => self.feed(Event::Deadline(kind), Vec::new()),
        }
    }

    /// Something happened, and these events tell of it.
    fn feed(&mut self, event: Event, facts: Vec<NewEvent>) {
        let effects = self.life.step(event);
        self.take(effects, facts, None);
    }

    /// What follows from a step. `reporter` waits for what the node says of a stage.
    fn take(&mut self, effects: Vec<Effect>, facts: Vec<NewEvent>, mut reporter: Option<Reporter>) {
        let now = now_ms();
        let (mut events, mut requests, mut closing) = (facts, Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Reached(stage) => {
                    let reached = report::stage_reached(self.record.row(), stage, now);
                    events.push(self.record.own(reached, now));
                }
                Effect::Close(termination) => closing = Some(termination),
                Effect::SetDeadline(kind) => self.deadlines.set(kind),
                Effect::ClearDeadline(kind) => self.deadlines.clear(kind),
                request @ Effect::AdvanceSession(_) => requests.push(Request::Effect(request, reporter.take())),
                request => requests.push(Request::Effect(request, None)),
            }
        }
        self.record.step(self.life.phase(), events, closing.as_ref(), now);
        if self.life.is_over() {
            let before = std::mem::take(&mut self.held);
            self.show();
            requests.into_iter().for_each(|request| self.release(request));
            if let Some(termination) = closing {
                self.close(termination, now);
            }
            before.into_iter().for_each(|request| self.give_up(request));
        } else {
            self.held.extend(requests);
            if self.record.is_written() {
                self.go_on();
            }
        }
    }

    pub(super) fn written(&mut self, written: Written) -> bool {
        match written {
            Written::Stored { position } => {
                if let Some(position) = position {
                    self.hub.stored(position);
                }
                if self.record.is_written() {
                    self.go_on();
                }
                true
            }
            Written::Refused => {
                tracing::error!("the call's record is closed or written by somebody else; it is left alone");
                false
            }
        }
    }

    /// Everything is written: what was held is done, and may be seen.
    fn go_on(&mut self) {
        let held = std::mem::take(&mut self.held);
        held.into_iter().for_each(|request| self.release(request));
        self.show();
    }

    fn release(&mut self, request: Request) {
        match request {
            Request::Session(session) => {
                if let Some(request) = self.placing.request(self.record.row(), &session) {
                    self.work.start_session(session, request);
                }
            }
            Request::Effect(Effect::Place, _) => {
                self.placing.begin(self.work.candidates(self.record.row()));
                self.ask_next_node();
            }
            Request::Effect(Effect::Graph { action, answer }, _) => {
                self.graph.push(action, answer);
                self.ask_graph();
            }
            Request::Effect(Effect::AdvanceSession(stage), reporter) => {
                if let Some(session) = self.record.row().session.clone() {
                    self.work.advance(session, stage, reporter);
                }
            }
            Request::Effect(Effect::EndSession(termination), _) => self.end_session(termination),
            // Done when the step was taken.
            Request::Effect(
                Effect::SetDeadline(_) | Effect::ClearDeadline(_) | Effect::Reached(_) | Effect::Close(_),
                _,
            ) => {}
        }
    }

    /// An end came before this was done: it is not done any more, and the life must not wait for it.
    fn give_up(&mut self, request: Request) {
        match request {
            Request::Effect(Effect::Place, _) => self.feed(Event::PlacementFailed, Vec::new()),
            Request::Session(_) => self.work.ready(Done::Unplaced(Event::PlacementFailed)),
            Request::Effect(Effect::Graph { action, .. }, _) => {
                let outcome = GraphOutcome::Refused { code: "not-asked".to_owned() };
                self.feed(Event::GraphAnswered { action, outcome }, Vec::new());
            }
            Request::Effect(Effect::EndSession(termination), _) => self.end_session(termination),
            // The session is ended in any case.
            Request::Effect(..) => {}
        }
    }

    /// A node is about to be asked: that is written down first. Nobody is asked any more when the call is over.
    fn ask_next_node(&mut self) {
        let next = if self.life.is_placing() { self.placing.next() } else { Err(Event::PlacementFailed) };
        match next {
            Ok(session) => {
                self.record.set_session(session.clone());
                self.held.push(Request::Session(session));
            }
            Err(event) => self.work.ready(Done::Unplaced(event)),
        }
    }

    fn ask_graph(&mut self) {
        let row = self.record.row();
        let number = self.work.graph_number(row);
        match self.graph.next(number, &self.life, &self.deadlines, row) {
            Some(Ask::Graph(request)) => self.work.ask_graph(request),
            Some(Ask::Holder(notice)) => self.work.tell_holder(notice),
            None => {}
        }
    }

    fn end_session(&self, termination: Termination) {
        self.work.end_session(self.record.row().session.clone(), termination);
    }

    fn follow(&mut self, register_within: Duration) {
        let row = self.record.row();
        if let Some(session) = row.session.clone() {
            self.work.follow(session, row.node_sequence, register_within);
        }
    }

    fn finished(&mut self, done: Done) {
        match done {
            Done::Asked(session, answer) => match judge(&session.node_id, answer) {
                Attempt::Placed(answer) => self.placed(answer),
                Attempt::Rejected(event) => self.unplaced(event),
                Attempt::Refused => self.ask_next_node(),
                Attempt::Silent => {
                    let message = "The node did not answer in time; the call went on.";
                    let lost = Termination::new(TerminationResult::Failed, reason::NODE_LOST, message);
                    self.work.release_session(session, lost);
                    self.ask_next_node();
                }
            },
            Done::Unplaced(event) => self.unplaced(event),
            Done::Graph(action, answer) => {
                let answered = report::graph_answered(&self.record.row().call_id, action, &answer);
                self.graph_answered(action, answer.outcome(), Some(answered));
            }
            Done::HolderTold(action, told) => {
                let incident = report::holder_told(&self.record.row().call_id, action, &told);
                let outcome = match told {
                    Ok(()) => GraphOutcome::Ok,
                    Err(error) => GraphOutcome::Unreachable { code: error.code() },
                };
                self.graph_answered(action, outcome, incident);
            }
            Done::Advanced(reporter, told) => self.advanced(reporter, told),
            Done::SessionTold(told) => {
                if let Some(event) = results::session_told(told, &self.work) {
                    self.feed(event, Vec::new());
                }
            }
            Done::Followed(following) => {
                if let Some(event) = results::followed(following, self.record.row()) {
                    self.work.followed();
                    self.feed(event, Vec::new());
                }
            }
        }
    }

    fn placed(&mut self, answer: OfferAnswer) {
        let sdp = Sdp::new(&answer.sdp);
        self.shown.set_answer(answer);
        // It was registered a moment ago; if it is not now, it is lost.
        self.follow(self.limits.node_lost());
        self.feed(Event::Placed { answer: sdp }, Vec::new());
    }

    fn unplaced(&mut self, event: Event) {
        self.record.clear_session();
        self.feed(event, Vec::new());
    }

    /// By Meta, or by whoever was told in its place.
    fn graph_answered(&mut self, action: GraphAction, outcome: GraphOutcome, fact: Option<Kind>) {
        self.graph.answered();
        let fact = fact.map(|fact| self.record.own(fact, now_ms()));
        self.feed(Event::GraphAnswered { action, outcome }, fact.into_iter().collect());
        self.ask_graph();
    }

    fn advanced(&mut self, reporter: Option<Reporter>, told: Result<types::SignallingStage, Status>) {
        self.work.advanced();
        if self.record.is_written() {
            self.show();
        }
        if let Some(reply) = reporter {
            // Err: the API caller has gone.
            let _ = reply.send(told.map_err(CallError::Node));
        } else if let Some(event) = told.err().and_then(|status| results::not_advanced(&status)) {
            self.feed(event, Vec::new());
        }
    }

    fn told(&mut self, message: Message) {
        let (stage, reply) = match message {
            Message::Life(event) => return self.feed(event, Vec::new()),
            Message::Advance { stage, reply } => (stage, reply),
        };
        if let Some(refused) = results::refused(&self.life, self.record.row()) {
            let _ = reply.send(Err(refused));
            return;
        }
        // The reply is dropped unless the life passes the stage on.
        let effects = self.life.step(Event::Advance(stage));
        self.take(effects, Vec::new(), Some(reply));
    }

    fn hear(&mut self, news: NodeNews) {
        match self.record.hear(news) {
            Heard::Nothing => {}
            Heard::Transient(event) => self.pass_on(event),
            Heard::Durable(fact, kind) => match kind.as_ref().and_then(convert::life_event) {
                Some(event) => self.feed(event, vec![fact]),
                None => self.record.add(fact),
            },
        }
    }

    fn pass_on(&mut self, event: types::Event) {
        if let Some(Kind::StatisticsReported(types::StatisticsReported { statistics: Some(statistics) })) = event.kind {
            self.shown.set_statistics(statistics);
            self.show();
        }
        let entry = Entry::transient(self.record.row(), event, self.record.last_position());
        self.hub.transient(entry);
    }

    /// Has the record closed, after what came of the node until now.
    fn close(&mut self, termination: Termination, now_ms: i64) {
        while let Some(news) = self.work.take_news() {
            match self.record.hear(news) {
                Heard::Nothing => {}
                Heard::Transient(event) => self.pass_on(event),
                Heard::Durable(fact, _) => self.record.add(fact),
            }
        }
        self.record.close(termination, now_ms);
    }

    fn show(&self) {
        self.shown.update(&self.life, self.record.row(), &self.work);
    }
}
