//! Effects under way: each runs as a task of its own and comes back as an event.
//!
//! What is under way when the call closes is dropped, except for what gives a slot back and for what whoever holds the
//! signalling may be just about to do. Decides nothing, and knows no phase.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tonic::Status;
use tracing::{Instrument as _, Span};
use voicebridge_core::{call_life::SignallingStage, termination::Termination};
use voicebridge_proto::media::v1::StartSessionRequest;

use super::{
    graph_requests::{GraphRequest, Until},
    input::{Done, Input, Reporter},
};
use crate::{
    callback::Notice,
    calls::ports::{Candidates, Ports},
    lifetime::Lifetime,
    nodes::{Followed, NodeNews},
    store::{CallRow, SessionPlace},
};

/// Events of the node waiting to be stored. Full: the node's stream is held back.
const NEWS_BACKLOG: usize = 64;
/// Results of effects waiting; there are never more than a few under way.
const DONE_BACKLOG: usize = 16;

/// See the module.
pub(super) struct Work {
    ports: Arc<dyn Ports>,
    lifetime: Lifetime,
    span: Span,
    tasks: JoinSet<()>,
    /// Results that were known at once.
    ready: VecDeque<Done>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    news: (mpsc::Sender<NodeNews>, mpsc::Receiver<NodeNews>),
    /// Requests to the node that tell it of a stage and have no answer yet.
    advancing: u32,
    /// The node's events come in; without them its word that the session is over is all there will be.
    following: bool,
}

impl Work {
    /// To be called in the call's span.
    pub(super) fn new(ports: Arc<dyn Ports>, lifetime: Lifetime) -> Self {
        Self {
            ports,
            lifetime,
            span: Span::current(),
            tasks: JoinSet::new(),
            ready: VecDeque::new(),
            done: mpsc::channel(DONE_BACKLOG),
            news: mpsc::channel(NEWS_BACKLOG),
            advancing: 0,
            following: false,
        }
    }

    /// The next result.
    pub(super) async fn done(&mut self) -> Input {
        Input::Done(match self.ready.pop_front() {
            Some(done) => done,
            None => self.done.1.recv().await.expect("a sender is kept beside it"),
        })
    }

    /// The next result, or news of the node, which else keeps it.
    pub(super) async fn done_or_news(&mut self) -> Input {
        if let Some(done) = self.ready.pop_front() {
            return Input::Done(done);
        }
        tokio::select! {
            Some(done) = self.done.1.recv() => Input::Done(done),
            Some(news) = self.news.1.recv() => Input::News(news),
        }
    }

    /// An effect that had its result without anybody being asked.
    pub(super) fn ready(&mut self, done: Done) {
        self.ready.push_back(done);
    }

    /// What has come of the node and was not taken.
    pub(super) fn take_news(&mut self) -> Option<NodeNews> {
        self.news.1.try_recv().ok()
    }

    pub(super) const fn is_advancing(&self) -> bool {
        self.advancing > 0
    }

    pub(super) const fn is_following(&self) -> bool {
        self.following
    }

    pub(super) fn candidates(&self, call: &CallRow) -> Candidates {
        self.ports.candidates(&call.caller)
    }

    pub(super) fn graph_number(&self, call: &CallRow) -> Option<String> {
        self.ports.graph_number(&call.phone_number_id)
    }

    fn spawn(&mut self, span: Span, work: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.0.clone();
        let work = async move {
            // Err: the call has closed.
            let _ = done.send(work.await).await;
        };
        self.tasks.spawn(work.instrument(span));
    }

    pub(super) fn start_session(&mut self, session: SessionPlace, request: StartSessionRequest) {
        let ports = Arc::clone(&self.ports);
        let span = tracing::info_span!(parent: &self.span, "place");
        self.spawn(span, async move {
            let answer = ports.start_session(&session, request).await;
            Done::Asked(session, answer)
        });
    }

    /// Has a session ended that this call does not use, in its own time.
    pub(super) fn release_session(&self, session: SessionPlace, termination: Termination) {
        let ports = Arc::clone(&self.ports);
        self.lifetime.spawn(async move {
            // Whether it is ended or was never begun is the same to us.
            let _ = ports.end_session(&session, &termination).await;
        });
    }

    pub(super) fn ask_graph(&mut self, request: GraphRequest) {
        let GraphRequest { number, wacid, action, answer, until } = request;
        let ports = Arc::clone(&self.ports);
        let span = tracing::info_span!(parent: &self.span, "graph", action = action.word());
        self.spawn(span, async move {
            let (number, sdp) = (number.as_deref(), answer.as_ref());
            let until = match until {
                Until::At(at) => at,
                Until::Within(time) => {
                    ports.may_act().await;
                    Instant::now() + time
                }
            };
            Done::Graph(action, ports.graph(number, &wacid, action, sdp, until.into_std()).await)
        });
    }

    /// Not cut off when the record closes, because they may be just about to do as they are told; not tried again then.
    pub(super) fn tell_holder(&self, notice: Notice) {
        let (ports, done) = (Arc::clone(&self.ports), self.done.0.clone());
        let span = tracing::info_span!(parent: &self.span, "callback", action = notice.action.word());
        let work = async move {
            let told = ports.tell_holder(&notice, &|| done.is_closed()).await;
            let _ = done.send(Done::HolderTold(notice.action, told)).await;
        };
        self.lifetime.spawn(work.instrument(span));
    }

    /// Until [`Work::advanced`].
    pub(super) fn advance(&mut self, session: SessionPlace, stage: SignallingStage, reporter: Option<Reporter>) {
        let ports = Arc::clone(&self.ports);
        self.advancing += 1;
        let span = tracing::info_span!(parent: &self.span, "advance_session", stage = ?stage);
        self.spawn(span, async move { Done::Advanced(reporter, ports.advance_session(&session, stage).await) });
    }

    pub(super) const fn advanced(&mut self) {
        self.advancing -= 1;
    }

    /// Not cut off when the record closes: a slot taken is always given back.
    pub(super) fn end_session(&self, session: Option<SessionPlace>, termination: Termination) {
        let (ports, done) = (Arc::clone(&self.ports), self.done.0.clone());
        let work = async move {
            let told = match session {
                Some(session) => ports.end_session(&session, &termination).await,
                None => Err(Status::not_found("no session was begun")),
            };
            let _ = done.send(Done::SessionTold(told)).await;
        };
        let span = tracing::info_span!(parent: &self.span, "end_session");
        self.lifetime.spawn(work.instrument(span));
    }

    /// Until [`Work::followed`].
    pub(super) fn follow(&mut self, session: SessionPlace, after: u64, register_within: Duration) {
        let followed = Followed {
            session_id: session.session_id,
            node_id: session.node_id,
            node_url: session.node_url,
            after,
            register_within,
        };
        let (ports, news) = (Arc::clone(&self.ports), self.news.0.clone());
        self.following = true;
        self.spawn(self.span.clone(), async move { Done::Followed(ports.follow(followed, news).await) });
    }

    pub(super) const fn followed(&mut self) {
        self.following = false;
    }
}
