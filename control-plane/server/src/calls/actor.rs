//! The task that owns a call: drives [`call_life`], executes its effects, keeps its record.
//!
//! Effects run as tasks of their own and come back as events; the actor itself only ever waits for the store. Requests to
//! Graph go out one after another, in the order the life asked for them. Whatever is under way when the record closes is
//! dropped, except for what gives a slot back.

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
        self, DeadlineKind, Effect, Event, GraphAction, GraphOutcome, Milestone, Phase, Sdp, Signalling, Stage, Step,
    },
    termination::Termination,
};
use voicebridge_proto::types::v1::{MediaStatistics, SignallingStage};

pub(super) use record::last_event;

use super::{
    CallError, OfferAnswer, View, effects,
    handle::{Mailbox, Message},
    place::{Attempt, Offer, Placement, place},
    signalling,
};
use crate::{
    callback::{CallbackError, Notice},
    clock::now_ms,
    convert,
    graph::Answer,
    nodes::{Followed, NodeNews, follow},
    shared::Shared,
    store::{CallRow, Change},
};

/// Events of the node waiting to be stored. Full: the node's stream is held back.
const NEWS_BACKLOG: usize = 64;
/// Results of effects waiting; there are never more than a few under way.
const DONE_BACKLOG: usize = 16;

/// An API caller waiting for the stage the session is at.
type Reporter = oneshot::Sender<Result<SignallingStage, CallError>>;

/// What became of an effect.
enum Done {
    Placed(Placement),
    Graph(GraphAction, Answer),
    /// Whoever holds the signalling was told, or not.
    HolderTold(GraphAction, Result<(), CallbackError>),
    Advanced(Option<Reporter>, Result<SignallingStage, Status>),
    SessionTold(Result<(), Status>),
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    signalling: Signalling,
    /// The record, as stored or about to be.
    row: CallRow,
    offer: Option<Offer>,
    answer: Option<OfferAnswer>,
    attempt: Attempt,
    phase: Phase,
    deadlines: BTreeMap<DeadlineKind, Instant>,
    graph_queue: VecDeque<(GraphAction, Option<Sdp>)>,
    graph_busy: bool,
    /// Graph's latest answer, until it is in the record.
    unrecorded: Option<(GraphAction, Answer)>,
    /// Of the call's last event stored by this process.
    last_position: u64,
    /// The node's latest report; never stored, the end of the session brings the whole.
    statistics: Option<MediaStatistics>,
    /// The node's events come in; without them its word that the session is over is all there will be.
    following: bool,
    /// The API caller whose report is just being taken.
    reporter: Option<Reporter>,
    messages: mpsc::Receiver<Message>,
    view: watch::Sender<View>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    news: (mpsc::Sender<NodeNews>, mpsc::Receiver<NodeNews>),
    work: JoinSet<()>,
    span: tracing::Span,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, row: CallRow, offer: Option<Offer>, mailbox: Mailbox) -> Self {
        let attempt = Attempt::default();
        attempt.set(row.session.clone());
        Self {
            signalling: signalling(row.holder),
            span: tracing::info_span!("call", call_id = %row.call_id),
            offer,
            answer: None,
            attempt,
            phase: Phase::Ended,
            deadlines: BTreeMap::new(),
            graph_queue: VecDeque::new(),
            graph_busy: false,
            unrecorded: None,
            last_position: 0,
            statistics: None,
            following: false,
            reporter: None,
            messages: mailbox.messages,
            view: mailbox.view,
            done: mpsc::channel(DONE_BACKLOG),
            news: mpsc::channel(NEWS_BACKLOG),
            work: JoinSet::new(),
            shared,
            row,
        }
    }

    /// Runs until the record is closed or the process ends. `first` is fed right after the beginning.
    pub(super) async fn run(mut self, begin: Step, first: Option<Event>) {
        let span = self.span.clone();
        async move {
            if self.row.session.is_some() {
                let limits = self.shared.limits();
                self.follow(limits.node_lost() + limits.restore_grace);
            }
            self.take(begin).await;
            if let Some(event) = first {
                self.feed(event).await;
            }
            while self.phase != Phase::Ended {
                if !self.turn().await {
                    tracing::info!(phase = self.phase.word(), "call left to its node");
                    return;
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// One thing that happens. False: the process ends and the call is left to its node.
    async fn turn(&mut self) -> bool {
        let deadline = self.deadlines.iter().min_by_key(|(_, at)| **at).map(|(kind, at)| (*kind, *at));
        let at = deadline.map_or_else(|| Instant::now() + Duration::from_secs(3_600), |(_, at)| at);
        tokio::select! {
            Some(done) = self.done.1.recv() => self.finished(done).await,
            Some(news) = self.news.1.recv() => self.hear(news).await,
            Some(message) = self.messages.recv() => self.told(message).await,
            () = tokio::time::sleep_until(at) => {
                if let Some((kind, _)) = deadline {
                    self.deadlines.remove(&kind);
                    self.feed(Event::Deadline(kind)).await;
                }
            }
            () = self.shared.detach.cancelled() => return false,
        }
        true
    }

    async fn feed(&mut self, event: Event) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        let step = call_life::step(self.signalling, phase, event);
        self.take(step).await;
    }

    /// Effects first, records after: nothing of a call waits for the disk that does not have to.
    async fn take(&mut self, step: Step) {
        // The moment milestones were reached, not the one they are written down.
        let now = now_ms();
        let before = std::mem::replace(&mut self.phase, step.phase);
        let mut milestones = Vec::new();
        let mut closing = None;
        for effect in step.effects {
            match effect {
                Effect::Reached(milestone) => milestones.push(milestone),
                Effect::Close(termination) => closing = Some(termination),
                other => self.execute(other),
            }
        }
        self.show();
        let mut change = Change::default();
        if before.word() != self.phase.word() || self.row.phase != self.phase.word() {
            self.row.phase = self.phase.word().to_owned();
            change.phase = Some(self.phase.word());
        }
        if self.phase == Phase::Active && self.row.accepted_at_ms.is_none() {
            self.row.accepted_at_ms = Some(now_ms());
            change.accepted_at_ms = self.row.accepted_at_ms;
        }
        let termination = self.phase.termination().or(closing.as_ref());
        if self.row.termination.is_none() && termination.is_some() {
            self.row.termination = termination.cloned();
            change.termination = self.row.termination.clone();
            self.show();
        }
        if let Some((action, answer)) = self.unrecorded.take() {
            self.graph_answered(action, &answer).await;
        }
        for milestone in milestones {
            self.reached(milestone, now).await;
        }
        // After its events: who sees the phase can read how it was reached.
        match closing {
            Some(termination) => self.close(termination).await,
            None if change.phase.is_some() || change.termination.is_some() => self.update(&change).await,
            None => {}
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Place => self.start_placing(),
            Effect::Graph { action, answer } => {
                self.graph_queue.push_back((action, answer));
                self.ask_graph();
            }
            Effect::AdvanceSession(stage) => self.start_advancing(stage),
            Effect::EndSession(termination) => self.end_session(termination),
            Effect::SetDeadline(kind) => {
                self.deadlines.insert(kind, self.deadline(kind));
            }
            Effect::ClearDeadline(kind) => {
                self.deadlines.remove(&kind);
            }
            // Kept for after the effects, see `take`.
            Effect::Reached(_) | Effect::Close(_) => {}
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
        let (shared, row, attempt) = (Arc::clone(&self.shared), self.row.clone(), self.attempt.clone());
        let span = tracing::info_span!(parent: &self.span, "place");
        self.spawn(span, async move { Done::Placed(place(shared, row, offer, attempt).await) });
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
        let number = self.shared.graph.as_ref().and_then(|graph| graph.number(&self.row.phone_number_id));
        if number.is_none() && self.signalling == Signalling::SelfHeld {
            return self.tell_holder(action);
        }
        self.graph_busy = true;
        let (shared, call_id, number) = (Arc::clone(&self.shared), self.row.call_id.clone(), number.map(str::to_owned));
        let span = tracing::info_span!(parent: &self.span, "graph", action = action.word());
        self.spawn(span, async move {
            let answer = match (&shared.graph, number) {
                (Some(graph), Some(number)) => {
                    graph.act(&number, &call_id, action, answer.as_ref().map(Sdp::as_str)).await
                }
                // A managed call of before a restart without Meta's values.
                _ => Answer { status: 0, duration_ms: 0, error: None, silence: Some("not-configured"), doubt: None },
            };
            Done::Graph(action, answer)
        });
    }

    /// Not cut off when the record closes, because they may be just about to do as they are told; not tried again then.
    fn tell_holder(&mut self, action: GraphAction) {
        // Of a self-held call nothing but the farewell is asked for.
        let Some(termination) = self.phase.termination().cloned() else { return };
        self.graph_busy = true;
        let notice = Notice {
            call_id: self.row.call_id.clone(),
            phone_number_id: self.row.phone_number_id.clone(),
            action,
            termination,
            at_ms: now_ms(),
        };
        let (shared, done) = (Arc::clone(&self.shared), self.done.0.clone());
        let span = tracing::info_span!(parent: &self.span, "callback", action = action.word());
        let work = async move {
            let told = match &shared.callback {
                Some(callback) => callback.tell(&notice, || done.is_closed()).await,
                None => Err(CallbackError::NotConfigured),
            };
            let _ = done.send(Done::HolderTold(action, told)).await;
        };
        self.shared.tasks.spawn(work.instrument(span));
    }

    fn start_advancing(&mut self, stage: Stage) {
        let Some(session) = self.row.session.clone() else { return };
        let (shared, reporter) = (Arc::clone(&self.shared), self.reporter.take());
        let span = tracing::info_span!(parent: &self.span, "advance_session", stage = ?stage);
        self.spawn(
            span,
            async move { Done::Advanced(reporter, effects::advance_session(&shared, &session, stage).await) },
        );
    }

    /// Not cut off when the record closes: a slot taken is always given back.
    fn end_session(&self, termination: Termination) {
        let (shared, attempt, done) = (Arc::clone(&self.shared), self.attempt.clone(), self.done.0.clone());
        let work = async move {
            let told = match attempt.current() {
                Some(session) => effects::end_session(&shared, &session, &termination).await,
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
        let (registry, clients) = (Arc::clone(&self.shared.registry), Arc::clone(&self.shared.clients));
        self.following = true;
        let follower = follow(registry, clients, followed, self.news.0.clone());
        self.work.spawn(follower.instrument(self.span.clone()));
    }

    async fn finished(&mut self, done: Done) {
        match done {
            Done::Placed(Placement::Placed { session, answer }) => {
                self.row.session = Some(session);
                self.row.node_sequence = 0;
                let sdp = Sdp::new(&answer.sdp);
                self.answer = Some(answer);
                // It was registered a moment ago; if it is not now, it is lost.
                self.follow(self.shared.limits().node_lost());
                self.feed(Event::Placed { answer: sdp }).await;
            }
            Done::Placed(Placement::Failed) => {
                self.row.session = None;
                self.feed(Event::PlacementFailed).await;
            }
            Done::Placed(Placement::Rejected { rule, message }) => {
                self.row.session = None;
                self.feed(Event::OfferRejected { rule, message }).await;
            }
            Done::Graph(action, answer) => {
                self.graph_busy = false;
                let outcome = answer.outcome();
                // Recorded between the effects, because RTP starts with one of them, and a close.
                self.unrecorded = Some((action, answer));
                self.feed(Event::GraphAnswered { action, outcome }).await;
                self.ask_graph();
            }
            Done::HolderTold(action, told) => {
                self.graph_busy = false;
                self.holder_told(action, &told).await;
                let outcome = match told {
                    Ok(()) => GraphOutcome::Ok,
                    Err(error) => GraphOutcome::Unreachable { code: error.code() },
                };
                self.feed(Event::GraphAnswered { action, outcome }).await;
                self.ask_graph();
            }
            Done::Advanced(reporter, told) => self.advanced(reporter, told).await,
            // The end itself, with statistics and usage, is on its way.
            Done::SessionTold(Ok(())) if self.following => {}
            Done::SessionTold(Ok(())) => self.feed(Event::NodeLost).await,
            Done::SessionTold(Err(status)) => {
                if status.code() != Code::NotFound {
                    tracing::warn!(code = ?status.code(), "the node could not be told that the session is over");
                }
                self.feed(Event::NodeLost).await;
            }
        }
    }

    async fn advanced(&mut self, reporter: Option<Reporter>, told: Result<SignallingStage, Status>) {
        if let Some(reply) = reporter {
            // Err: the API caller has gone.
            let _ = reply.send(told.map_err(CallError::Node));
        } else if let Err(status) = told {
            tracing::warn!(code = ?status.code(), error = status.message(), "the node could not be told of a stage");
            // An ended session reports its end by itself.
            if status.code() != Code::FailedPrecondition {
                self.feed(Event::NodeLost).await;
            }
        }
    }

    async fn told(&mut self, message: Message) {
        match message {
            Message::Life(event) => self.feed(event).await,
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
            Message::Advance { stage, reply } => {
                self.reporter = Some(reply);
                self.feed(Event::Advance(stage)).await;
                // Dropped unless the life passed the stage on.
                self.reporter = None;
            }
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
            phase: self.phase.word(),
            received_at_ms: self.row.received_at_ms,
            session: match self.phase {
                Phase::Placing { .. } => None,
                _ => self.row.session.clone(),
            },
            answer: self.answer.clone(),
            termination: self.row.termination.clone(),
            statistics: self.statistics,
            is_busy: !is_idle,
            closed: false,
        });
    }

    async fn reached(&mut self, milestone: Milestone, at_ms: i64) {
        let (stage, wire) = convert::milestone(milestone);
        let elapsed_ms = convert::elapsed_ms(self.row.received_at_ms, at_ms);
        tracing::info!(stage, call_id = %self.row.call_id, elapsed_ms, "stage reached");
        metrics::histogram!("voicebridge_control_stage_ms", "stage" => stage).record(elapsed_ms as f64);
        self.record_stage(wire, at_ms).await;
    }
}
