//! The task that owns a call: drives [`call_life`], has its record written, then executes its effects.
//!
//! ```text
//!   messages, results, the node's events, deadlines ─▶ call_life::step ─▶ journal ─ written ─▶ effects ─▶ ports
//! ```
//!
//! Nothing moves on that is not written: while the store fails the call is held, and the node keeps its events. An end is
//! the exception. Meta's word, the API's, a limit and the loss of the node act on Graph and node at once, and are written
//! when that can be; what was held is not asked for any more.
//!
//! Effects run as tasks of their own and come back as events. Requests to Graph go out one after another, in the order the
//! life asked for them. Whatever is under way when the record closes is dropped, except for what gives a slot back.

mod record;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tonic::{Code, Status};
use tracing::Instrument as _;
use voicebridge_core::{
    call_life::{
        self, DeadlineKind, Effect, Event, GraphAction, GraphOutcome, Stage, Phase, Sdp, Signalling, SignallingStage, Step,
    },
    termination::{Termination, TerminationResult},
};
use voicebridge_proto::types::v1 as types;

pub(super) use record::last_event;

use super::{
    CallError, OfferAnswer, View,
    handle::{Mailbox, Message},
    journal::Journal,
    place::{Attempt, Offer, Placement},
    ports::Ports,
    signalling,
};
use crate::{
    callback::{CallbackError, Notice},
    clock::now_ms,
    convert,
    graph::Answer,
    nodes::{Followed, Following, NodeNews},
    shared::Shared,
    store::{CallRow, Change, NewEvent, Written},
};

/// Events of the node waiting to be stored. Full: the node's stream is held back.
const NEWS_BACKLOG: usize = 64;
/// Results of effects waiting; there are never more than a few under way.
const DONE_BACKLOG: usize = 16;
/// What waits while the store fails: results of effects, and stages reported. Further stages are refused as unavailable.
const MAX_HELD_INPUTS: usize = 64;

/// An API caller waiting for the stage the session is at.
type Reporter = oneshot::Sender<Result<types::SignallingStage, CallError>>;

/// What became of an effect.
enum Done {
    Placed(Placement),
    Graph(GraphAction, Answer),
    /// Whoever holds the signalling was told, or not.
    HolderTold(GraphAction, Result<(), CallbackError>),
    Advanced(Option<Reporter>, Result<types::SignallingStage, Status>),
    SessionTold(Result<(), Status>),
    /// There are no more events of the node.
    Followed(Following),
}

/// What can come.
enum Input {
    Done(Done),
    Attempt(Attempt),
    News(NodeNews),
    Message(Message),
    Deadline(DeadlineKind),
}

/// What is done once the record is written.
enum Held {
    Request(Effect, Option<Reporter>),
    Attempt(oneshot::Sender<()>),
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    ports: Arc<dyn Ports>,
    signalling: Signalling,
    /// The record, as stored or about to be.
    row: CallRow,
    journal: Journal,
    held: Vec<Held>,
    held_inputs: VecDeque<Input>,
    offer: Option<Offer>,
    answer: Option<OfferAnswer>,
    phase: Phase,
    deadlines: BTreeMap<DeadlineKind, Instant>,
    graph_queue: VecDeque<(GraphAction, Option<Sdp>)>,
    graph_busy: bool,
    /// Requests to the node that tell it of a stage and have no answer yet.
    advancing: u32,
    /// Of the call's last event stored by this process.
    last_position: u64,
    /// The node's latest report; never stored, the end of the session brings the whole.
    statistics: Option<types::MediaStatistics>,
    /// The node's events come in; without them its word that the session is over is all there will be.
    following: bool,
    messages: mpsc::Receiver<Message>,
    view: watch::Sender<View>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    attempts: (mpsc::Sender<Attempt>, mpsc::Receiver<Attempt>),
    news: (mpsc::Sender<NodeNews>, mpsc::Receiver<NodeNews>),
    work: JoinSet<()>,
    span: tracing::Span,
}

impl Actor {
    pub(super) fn new(
        shared: Arc<Shared>,
        ports: Arc<dyn Ports>,
        row: CallRow,
        offer: Option<Offer>,
        mailbox: Mailbox,
    ) -> Self {
        Self {
            signalling: signalling(row.holder),
            span: tracing::info_span!("call", call_id = %row.call_id),
            journal: Journal::new(Arc::clone(&shared.store), row.call_id.clone(), row.last_sequence),
            held: Vec::new(),
            held_inputs: VecDeque::new(),
            offer,
            answer: None,
            phase: Phase::Ended,
            deadlines: BTreeMap::new(),
            graph_queue: VecDeque::new(),
            graph_busy: false,
            advancing: 0,
            last_position: 0,
            statistics: None,
            following: false,
            messages: mailbox.messages,
            view: mailbox.view,
            done: mpsc::channel(DONE_BACKLOG),
            attempts: mpsc::channel(1),
            news: mpsc::channel(NEWS_BACKLOG),
            work: JoinSet::new(),
            shared,
            ports,
            row,
        }
    }

    /// Runs until the record is closed or the process ends. `follow`: there is a session to hear of. `first` is fed right
    /// after the beginning.
    pub(super) async fn run(mut self, begin: Step, follow: bool, first: Vec<Event>) {
        let span = self.span.clone();
        async move {
            if follow {
                let limits = self.shared.limits();
                self.follow(limits.node_lost() + limits.restore_grace);
            }
            self.take(begin, Vec::new());
            first.into_iter().for_each(|event| self.feed(event, Vec::new()));
            loop {
                if self.phase == Phase::Ended && self.journal.is_written() {
                    return self.closed();
                }
                if !self.turn().await {
                    tracing::info!(phase = self.phase.word(), "call left to its node");
                    return;
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// One thing that happens. False: the call is left to its node, or to whoever else writes its record.
    async fn turn(&mut self) -> bool {
        let writing = !self.journal.is_written();
        // An end waits for nothing, nor does what came before it: Graph may be asked of the end once it has answered that.
        let is_over = matches!(self.phase, Phase::Ending(_) | Phase::Ended);
        if (is_over || !writing)
            && let Some(input) = self.held_inputs.pop_front()
        {
            self.handle(input);
            return true;
        }
        let deadline = self.deadlines.iter().min_by_key(|(_, at)| **at).map(|(kind, at)| (*kind, *at));
        let at = deadline.map_or_else(|| Instant::now() + Duration::from_secs(3_600), |(_, at)| at);
        let input = tokio::select! {
            written = self.journal.written(), if writing => return self.written(written),
            Some(done) = self.done.1.recv() => Input::Done(done),
            Some(attempt) = self.attempts.1.recv() => Input::Attempt(attempt),
            // Its node keeps what is not taken.
            Some(news) = self.news.1.recv(), if !writing => Input::News(news),
            Some(message) = self.messages.recv() => Input::Message(message),
            () = tokio::time::sleep_until(at) => {
                let Some((kind, _)) = deadline else { return true };
                self.deadlines.remove(&kind);
                Input::Deadline(kind)
            }
            () = self.shared.detach.cancelled() => return false,
        };
        if writing && !self.overtakes(&input) {
            self.hold(input);
        } else {
            self.handle(input);
        }
        true
    }

    /// Whether this does not wait for what is being written.
    fn overtakes(&self, input: &Input) -> bool {
        match (input, &self.phase) {
            (Input::Deadline(DeadlineKind::Ending), _) => false,
            (_, Phase::Ending(_) | Phase::Ended) => true,
            (Input::Message(Message::Life(event)), _) => {
                matches!(event, Event::WebhookTerminate { .. } | Event::ApiEnd { .. })
            }
            (Input::Done(Done::Followed(following)), _) => *following != Following::Ended,
            (Input::Deadline(DeadlineKind::Ring), _) => true,
            _ => false,
        }
    }

    fn hold(&mut self, input: Input) {
        match input {
            // What is still to be written includes what the node has to say of the end: it gets its time after that.
            Input::Deadline(kind @ DeadlineKind::Ending) => {
                self.deadlines.insert(kind, self.deadline(kind));
            }
            Input::Message(Message::Advance { reply, .. }) if self.held_inputs.len() >= MAX_HELD_INPUTS => {
                let _ = reply.send(Err(CallError::Node(Status::unavailable("the store does not answer; try again"))));
            }
            input => self.held_inputs.push_back(input),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Done(done) => self.finished(done),
            Input::Attempt(attempt) => self.attempted(attempt),
            Input::News(news) => self.hear(news),
            Input::Message(message) => self.told(message),
            Input::Deadline(kind) => self.feed(Event::Deadline(kind), Vec::new()),
        }
    }

    /// Something happened, and these events tell of it.
    fn feed(&mut self, event: Event, facts: Vec<NewEvent>) {
        self.feed_from(event, facts, None);
    }

    /// `reporter` waits for what the node says.
    fn feed_from(&mut self, event: Event, facts: Vec<NewEvent>, reporter: Option<Reporter>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        let step = call_life::step(self.signalling, phase, event);
        self.take_from(step, facts, reporter);
    }

    fn take(&mut self, step: Step, facts: Vec<NewEvent>) {
        self.take_from(step, facts, None);
    }

    fn take_from(&mut self, step: Step, facts: Vec<NewEvent>, mut reporter: Option<Reporter>) {
        let now = now_ms();
        self.phase = step.phase;
        let (mut events, mut requests, mut closing) = (facts, Vec::new(), None);
        for effect in step.effects {
            match effect {
                Effect::Reached(stage) => events.push(self.reached(stage, now)),
                Effect::Close(termination) => closing = Some(termination),
                Effect::SetDeadline(kind) => {
                    self.deadlines.insert(kind, self.deadline(kind));
                }
                Effect::ClearDeadline(kind) => {
                    self.deadlines.remove(&kind);
                }
                request @ Effect::AdvanceSession(_) => requests.push(Held::Request(request, reporter.take())),
                request => requests.push(Held::Request(request, None)),
            }
        }
        let change = self.change(now, closing.as_ref());
        self.journal.add(events, change);
        let is_over = matches!(self.phase, Phase::Ending(_) | Phase::Ended);
        let held = std::mem::take(&mut self.held);
        if is_over {
            self.show();
            requests.into_iter().for_each(|request| self.release(request));
            if let Some(termination) = closing {
                self.close(&termination, now);
            }
            held.into_iter().for_each(|held| self.drop_held(held));
        } else {
            self.held = held;
            self.held.extend(requests);
            if self.journal.is_written() {
                self.go_on();
            }
        }
    }

    /// What the row has to say of the phase that it does not say yet.
    fn change(&mut self, now_ms: i64, closing: Option<&Termination>) -> Change {
        let mut change = Change::default();
        if self.row.phase != self.phase.word() {
            self.phase.word().clone_into(&mut self.row.phase);
            change.phase = Some(self.phase.word());
        }
        if self.phase == Phase::Active && self.row.accepted_at_ms.is_none() {
            self.row.accepted_at_ms = Some(now_ms);
            change.accepted_at_ms = self.row.accepted_at_ms;
        }
        let termination = self.phase.termination().or(closing);
        if self.row.termination.is_none() && termination.is_some() {
            self.row.termination = termination.cloned();
            change.termination = self.row.termination.clone();
        }
        change
    }

    fn written(&mut self, written: Written) -> bool {
        match written {
            Written::Stored { position } => {
                if let Some(position) = position {
                    self.last_position = position;
                    self.shared.hub.stored(position);
                }
                if self.journal.is_written() {
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
        held.into_iter().for_each(|held| self.release(held));
        self.show();
    }

    fn release(&mut self, held: Held) {
        let (effect, reporter) = match held {
            Held::Request(effect, reporter) => (effect, reporter),
            Held::Attempt(recorded) => {
                // Err: placing was given up.
                let _ = recorded.send(());
                return;
            }
        };
        match effect {
            Effect::Place => self.start_placing(),
            Effect::Graph { action, answer } => {
                self.graph_queue.push_back((action, answer));
                self.ask_graph();
            }
            Effect::AdvanceSession(stage) => self.start_advancing(stage, reporter),
            Effect::EndSession(termination) => self.end_session(termination),
            // Done when the step was taken.
            Effect::SetDeadline(_) | Effect::ClearDeadline(_) | Effect::Reached(_) | Effect::Close(_) => {}
        }
    }

    /// An end came before this was done: it is not done any more, and the life must not wait for it.
    fn drop_held(&mut self, held: Held) {
        let Held::Request(effect, _) = held else { return };
        match effect {
            Effect::Place => self.feed(Event::PlacementFailed, Vec::new()),
            Effect::Graph { action, .. } => {
                let outcome = GraphOutcome::Refused { code: "not-asked".to_owned() };
                self.feed(Event::GraphAnswered { action, outcome }, Vec::new());
            }
            Effect::EndSession(termination) => self.end_session(termination),
            // The session is ended in any case.
            _ => {}
        }
    }

    fn deadline(&self, kind: DeadlineKind) -> Instant {
        let until = |at_ms: i64| Instant::now() + Duration::from_millis(convert::elapsed_ms(now_ms(), at_ms));
        let limits = self.shared.limits();
        match kind {
            DeadlineKind::Ring => until(self.row.ring_until_ms),
            DeadlineKind::Patience => {
                until(self.row.received_at_ms + convert::duration_ms(limits.accept_patience) as i64)
            }
            DeadlineKind::Ending => Instant::now() + limits.ending,
        }
    }

    fn start_placing(&mut self) {
        // A restored call is never placed: the life does not ask for it.
        let Some(offer) = self.offer.take() else { return };
        let (ports, row, attempts) = (Arc::clone(&self.ports), self.row.clone(), self.attempts.0.clone());
        let span = tracing::info_span!(parent: &self.span, "place");
        self.spawn(span, async move { Done::Placed(ports.place(row, offer, attempts).await) });
    }

    /// A node is about to be asked: that is written down first. Nobody is asked any more when the call is over.
    fn attempted(&mut self, Attempt { session, recorded }: Attempt) {
        if !matches!(self.phase, Phase::Placing { .. }) {
            return;
        }
        self.row.session = Some(session.clone());
        self.row.node_sequence = 0;
        self.journal.add([], Change { session: Some(session), ..Change::default() });
        self.held.push(Held::Attempt(recorded));
    }

    fn spawn(&mut self, span: tracing::Span, work: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.0.clone();
        let work = async move {
            // Err: the call has closed.
            let _ = done.send(work.await).await;
        };
        self.work.spawn(work.instrument(span));
    }

    fn ask_graph(&mut self) {
        if self.graph_busy {
            return;
        }
        let Some((action, answer)) = self.graph_queue.pop_front() else { return };
        let number = self.ports.graph_number(&self.row.phone_number_id);
        if number.is_none() && self.signalling == Signalling::SelfHeld {
            return self.tell_holder(action);
        }
        self.graph_busy = true;
        let (ports, wacid) = (Arc::clone(&self.ports), self.row.wacid.clone());
        // Of an end Meta is told however late, so its time counts from when that may be done.
        let (ring, ending) = match action {
            GraphAction::PreAccept | GraphAction::Accept => (Some(self.deadline(DeadlineKind::Ring)), Duration::ZERO),
            GraphAction::Reject | GraphAction::Terminate => (None, self.shared.limits().ending),
        };
        let span = tracing::info_span!(parent: &self.span, "graph", action = action.word());
        self.spawn(span, async move {
            let (number, sdp) = (number.as_deref(), answer.as_ref());
            let until = match ring {
                Some(until) => until,
                None => {
                    ports.may_act().await;
                    Instant::now() + ending
                }
            };
            Done::Graph(action, ports.graph(number, &wacid, action, sdp, until.into_std()).await)
        });
    }

    /// Not cut off when the record closes, because they may be just about to do as they are told; not tried again then.
    fn tell_holder(&mut self, action: GraphAction) {
        // Of a self-held call nothing but the farewell is asked for.
        let Some(termination) = self.phase.termination().cloned() else { return };
        self.graph_busy = true;
        let notice = Notice {
            call_id: self.row.call_id.clone(),
            wacid: self.row.wacid.clone(),
            phone_number_id: self.row.phone_number_id.clone(),
            action,
            termination,
            at_ms: now_ms(),
        };
        let (ports, done) = (Arc::clone(&self.ports), self.done.0.clone());
        let span = tracing::info_span!(parent: &self.span, "callback", action = action.word());
        let work = async move {
            let told = ports.tell_holder(&notice, &|| done.is_closed()).await;
            let _ = done.send(Done::HolderTold(action, told)).await;
        };
        self.shared.tasks.spawn(work.instrument(span));
    }

    fn start_advancing(&mut self, stage: SignallingStage, reporter: Option<Reporter>) {
        let Some(session) = self.row.session.clone() else { return };
        let ports = Arc::clone(&self.ports);
        self.advancing += 1;
        let span = tracing::info_span!(parent: &self.span, "advance_session", stage = ?stage);
        self.spawn(span, async move { Done::Advanced(reporter, ports.advance_session(&session, stage).await) });
    }

    /// Not cut off when the record closes: a slot taken is always given back.
    fn end_session(&self, termination: Termination) {
        let (ports, session, done) = (Arc::clone(&self.ports), self.row.session.clone(), self.done.0.clone());
        let work = async move {
            let told = match session {
                Some(session) => ports.end_session(&session, &termination).await,
                None => Err(Status::not_found("no session was begun")),
            };
            let _ = done.send(Done::SessionTold(told)).await;
        };
        let span = tracing::info_span!(parent: &self.span, "end_session");
        self.shared.tasks.spawn(work.instrument(span));
    }

    fn follow(&mut self, register_within: Duration) {
        let Some(session) = self.row.session.clone() else { return };
        let followed = Followed {
            session_id: session.session_id,
            node_id: session.node_id,
            node_url: session.node_url,
            after: self.row.node_sequence,
            register_within,
        };
        let (ports, news) = (Arc::clone(&self.ports), self.news.0.clone());
        self.following = true;
        self.spawn(self.span.clone(), async move { Done::Followed(ports.follow(followed, news).await) });
    }

    fn finished(&mut self, done: Done) {
        match done {
            Done::Placed(Placement::Placed { session, answer }) => {
                self.row.session = Some(session);
                let sdp = Sdp::new(&answer.sdp);
                self.answer = Some(answer);
                // It was registered a moment ago; if it is not now, it is lost.
                self.follow(self.shared.limits().node_lost());
                self.feed(Event::Placed { answer: sdp }, Vec::new());
            }
            Done::Placed(Placement::Failed) => {
                self.row.session = None;
                self.feed(Event::PlacementFailed, Vec::new());
            }
            Done::Placed(Placement::Rejected { rule, message }) => {
                self.row.session = None;
                self.feed(Event::OfferRejected { rule, message }, Vec::new());
            }
            Done::Graph(action, answer) => {
                self.graph_busy = false;
                let told = self.graph_answered(action, &answer);
                self.feed(Event::GraphAnswered { action, outcome: answer.outcome() }, told);
                self.ask_graph();
            }
            Done::HolderTold(action, told) => {
                self.graph_busy = false;
                let incident = self.holder_told(action, &told);
                let outcome = match told {
                    Ok(()) => GraphOutcome::Ok,
                    Err(error) => GraphOutcome::Unreachable { code: error.code() },
                };
                self.feed(Event::GraphAnswered { action, outcome }, incident);
                self.ask_graph();
            }
            Done::Advanced(reporter, told) => self.advanced(reporter, told),
            // The end itself, with statistics and usage, is on its way.
            Done::SessionTold(Ok(())) if self.following => {}
            Done::SessionTold(Ok(())) => self.feed(Event::NodeLost, Vec::new()),
            Done::SessionTold(Err(status)) => {
                if status.code() != Code::NotFound {
                    tracing::warn!(code = ?status.code(), "the node could not be told that the session is over");
                }
                self.feed(Event::NodeLost, Vec::new());
            }
            // Its end was passed on as an event.
            Done::Followed(Following::Ended) => {}
            Done::Followed(Following::SessionUnknown) => {
                self.following = false;
                let termination = Termination::new(
                    TerminationResult::Failed,
                    "SESSION_NOT_FOUND",
                    "The media node no longer knows the session.",
                );
                self.feed(Event::SessionEnded(termination), Vec::new());
            }
            Done::Followed(Following::NodeLost) => {
                self.following = false;
                tracing::warn!(node = self.row.session.as_ref().map(|session| session.node_id.as_str()), "node lost");
                self.feed(Event::NodeLost, Vec::new());
            }
        }
    }

    fn advanced(&mut self, reporter: Option<Reporter>, told: Result<types::SignallingStage, Status>) {
        self.advancing -= 1;
        if self.journal.is_written() {
            self.show();
        }
        if let Some(reply) = reporter {
            // Err: the API caller has gone.
            let _ = reply.send(told.map_err(CallError::Node));
        } else if let Err(status) = told {
            tracing::warn!(code = ?status.code(), error = status.message(), "the node could not be told of a stage");
            // An ended session reports its end by itself, and who follows hears that there is none.
            if !matches!(status.code(), Code::FailedPrecondition | Code::NotFound) {
                self.feed(Event::NodeLost, Vec::new());
            }
        }
    }

    fn told(&mut self, message: Message) {
        match message {
            Message::Life(event) => self.feed(event, Vec::new()),
            Message::Advance { reply, .. } if self.signalling == Signalling::Managed => {
                let _ = reply.send(Err(CallError::Managed));
            }
            Message::Advance { reply, .. } if matches!(self.phase, Phase::Placing { .. }) => {
                let _ = reply.send(Err(CallError::NotPlaced));
            }
            Message::Advance { reply, .. } if self.row.termination.is_some() => {
                let termination = self.row.termination.clone();
                let _ = reply.send(Err(termination.map_or(CallError::Internal, CallError::Ended)));
            }
            // The reply is dropped unless the life passes the stage on.
            Message::Advance { stage, reply } => self.feed_from(Event::Advance(stage), Vec::new(), Some(reply)),
        }
    }

    /// Publishes the call's state.
    fn show(&self) {
        let is_idle = match (&self.phase, self.signalling) {
            (Phase::Active | Phase::Ended, _) => true,
            // Whoever holds the signalling drives it on, also after a restart of ours.
            (phase, Signalling::SelfHeld) => matches!(phase, Phase::PreAccepting { .. } | Phase::Connecting { .. }),
            (_, Signalling::Managed) => false,
        };
        self.view.send_replace(View {
            claimed: true,
            phase: self.phase.word(),
            received_at_ms: self.row.received_at_ms,
            session: match self.phase {
                Phase::Placing { .. } => None,
                _ => self.row.session.clone(),
            },
            answer: self.answer.clone(),
            termination: self.row.termination.clone(),
            statistics: self.statistics,
            // A node that is not told of ACCEPTED sends nothing.
            is_busy: !is_idle || self.advancing > 0,
            closed: false,
        });
    }

    fn closed(&self) {
        self.view.send_modify(|view| {
            *view = View { is_busy: false, closed: true, termination: self.row.termination.clone(), ..view.clone() };
        });
    }

    fn reached(&self, stage: Stage, at_ms: i64) -> NewEvent {
        let (stage, wire) = convert::stage_to_wire(stage);
        let elapsed_ms = convert::elapsed_ms(self.row.received_at_ms, at_ms);
        tracing::info!(stage, call_id = %self.row.call_id, elapsed_ms, "stage reached");
        metrics::histogram!("voicebridge_control_stage_ms", "stage" => stage).record(elapsed_ms as f64);
        self.stage_reached(wire, at_ms)
    }
}
