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
    graph_requests::{Ask, GraphRequests},
    input::{Done, Input, Next, Reporter},
    life::Life,
    placing::{Attempt, Placing, judge},
    record::Heard,
    report,
    request::Request,
    results,
    shown::Shown,
    steps::{Came, Due, Steps},
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
    steps: Steps,
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
            steps: Steps::new(store, row, &limits),
            placing: Placing::new(offer),
            graph: GraphRequests::new(limits.ending),
            work: Work::new(ports, lifetime),
            shown: Shown::new(view),
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
        let due = self.steps.begin(step);
        self.go_on(due);
        events.into_iter().for_each(|event| self.feed(event, Vec::new()));
    }

    pub(super) const fn life(&self) -> &Life {
        self.steps.life()
    }

    pub(super) fn is_written(&self) -> bool {
        self.steps.record().is_written()
    }

    /// There is nothing left to do.
    pub(super) fn is_closed(&self) -> bool {
        self.steps.life().is_ended() && self.steps.record().is_written()
    }

    pub(super) fn show_closed(&self) {
        self.shown.close(self.steps.record().row());
    }

    pub(super) fn set_deadline(&mut self, kind: DeadlineKind) {
        self.steps.set_deadline(kind);
    }

    /// What comes next of what is under way. Nothing is lost when this is given up and called again.
    pub(super) async fn next(&mut self) -> Next {
        let writing = !self.is_written();
        let (steps, work) = (&mut self.steps, &mut self.work);
        // While something is being written the node keeps its news.
        let done = async { if writing { work.done().await } else { work.done_or_news().await } };
        tokio::select! {
            came = steps.next() => match came {
                Came::Written(written) => Next::Written(written),
                Came::Deadline(kind) => Next::Input(Input::Deadline(kind)),
            },
            done = done => Next::Input(done),
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
        let due = self.steps.step(event, facts, None);
        self.go_on(due);
    }

    pub(super) fn written(&mut self, written: Written) -> bool {
        match written {
            Written::Stored { position } => {
                if let Some(position) = position {
                    self.hub.stored(position);
                }
                let due = self.steps.due();
                self.go_on(due);
                true
            }
            Written::Refused => {
                tracing::error!("the call's record is closed, or not the one that was written here");
                false
            }
        }
    }

    fn go_on(&mut self, due: Due) {
        match due {
            Due::Later => {}
            Due::Requests(requests) => {
                requests.into_iter().for_each(|request| self.release(request));
                self.show();
            }
            Due::End { requests, closing, given_up } => {
                self.show();
                requests.into_iter().for_each(|request| self.release(request));
                if let Some((termination, now_ms)) = closing {
                    self.close(termination, now_ms);
                }
                given_up.into_iter().for_each(|request| self.give_up(request));
            }
        }
    }

    fn release(&mut self, request: Request) {
        match request {
            Request::Session(session) => {
                if let Some(request) = self.placing.request(self.steps.record().row(), &session) {
                    self.work.start_session(session, request);
                }
            }
            Request::Effect(Effect::Place, _) => {
                self.placing.begin(self.work.candidates(self.steps.record().row()));
                self.ask_next_node();
            }
            Request::Effect(Effect::Graph { action, answer }, _) => {
                self.graph.push(action, answer);
                self.ask_graph();
            }
            Request::Effect(Effect::AdvanceSession(stage), reporter) => {
                if let Some(session) = self.steps.record().row().session.clone() {
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
        let next = if self.steps.life().is_placing() { self.placing.next() } else { Err(Event::PlacementFailed) };
        match next {
            Ok(session) => self.steps.ask(session),
            Err(event) => self.work.ready(Done::Unplaced(event)),
        }
    }

    fn ask_graph(&mut self) {
        let row = self.steps.record().row();
        let number = self.work.graph_number(row);
        match self.graph.next(number, self.steps.life(), self.steps.deadlines(), row) {
            Some(Ask::Graph(request)) => self.work.ask_graph(request),
            Some(Ask::Holder(notice)) => self.work.tell_holder(notice),
            None => {}
        }
    }

    fn end_session(&self, termination: Termination) {
        self.work.end_session(self.steps.record().row().session.clone(), termination);
    }

    fn follow(&mut self, register_within: Duration) {
        let row = self.steps.record().row();
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
                let answered = report::graph_answered(&self.steps.record().row().call_id, action, &answer);
                self.graph_answered(action, answer.outcome(), Some(answered));
            }
            Done::HolderTold(action, told) => {
                let incident = report::holder_told(&self.steps.record().row().call_id, action, &told);
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
                if let Some(event) = results::followed(following, self.steps.record().row()) {
                    self.work.followed();
                    self.feed(event, Vec::new());
                }
            }
        }
    }

    fn placed(&mut self, answer: OfferAnswer) {
        self.placing.finish();
        let sdp = Sdp::new(&answer.sdp);
        self.shown.set_answer(answer);
        // It was registered a moment ago; if it is not now, it is lost.
        self.follow(self.limits.node_lost());
        self.feed(Event::Placed { answer: sdp }, Vec::new());
    }

    fn unplaced(&mut self, event: Event) {
        self.placing.finish();
        self.steps.record_mut().clear_session();
        self.feed(event, Vec::new());
    }

    /// By Meta, or by whoever was told in its place.
    fn graph_answered(&mut self, action: GraphAction, outcome: GraphOutcome, fact: Option<Kind>) {
        self.graph.answered();
        let fact = fact.map(|fact| self.steps.record().own(fact, now_ms()));
        self.feed(Event::GraphAnswered { action, outcome }, fact.into_iter().collect());
        self.ask_graph();
    }

    fn advanced(&mut self, reporter: Option<Reporter>, told: Result<types::SignallingStage, Status>) {
        self.work.advanced();
        if self.steps.record().is_written() {
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
        if let Some(refused) = results::refused(self.steps.life(), self.steps.record().row()) {
            let _ = reply.send(Err(refused));
            return;
        }
        // The reply is dropped unless the life passes the stage on.
        let due = self.steps.step(Event::Advance(stage), Vec::new(), Some(reply));
        self.go_on(due);
    }

    fn hear(&mut self, news: NodeNews) {
        match self.steps.record_mut().hear(news) {
            Heard::Nothing => {}
            Heard::Transient(event) => self.pass_on(event),
            Heard::Durable(fact, kind) => match kind.as_ref().and_then(convert::life_event) {
                Some(event) => self.feed(event, vec![fact]),
                None => self.steps.record_mut().add(fact),
            },
        }
    }

    fn pass_on(&mut self, event: types::Event) {
        if let Some(Kind::StatisticsReported(types::StatisticsReported { statistics: Some(statistics) })) = event.kind {
            self.shown.set_statistics(statistics);
            self.show();
        }
        let entry = Entry::transient(self.steps.record().row(), event, self.steps.record().last_position());
        self.hub.transient(entry);
    }

    /// Has the record closed, after what came of the node until now.
    fn close(&mut self, termination: Termination, now_ms: i64) {
        while let Some(news) = self.work.take_news() {
            match self.steps.record_mut().hear(news) {
                Heard::Nothing => {}
                Heard::Transient(event) => self.pass_on(event),
                Heard::Durable(fact, _) => self.steps.record_mut().add(fact),
            }
        }
        self.steps.record_mut().close(termination, now_ms);
    }

    fn show(&self) {
        self.shown.update(self.steps.life(), self.steps.record().row(), &self.work);
    }
}
