//! Graph and a media node that outlive the control plane, for one call.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use tokio::{sync::mpsc, time::Instant};
use tonic::{Code, Status};
use voicebridge_core::{
    call_life::{GraphAction, Sdp, SignallingStage},
    identity::{Caller, Wacid},
    termination::{Termination, TerminationResult},
};
use voicebridge_proto::{
    media::v1::{Session, StartSessionRequest},
    types::v1::{self as types, event::Kind},
};
use voicebridge_telemetry::status::status;

use super::draw;
use crate::{
    callback::{CallbackError, Notice},
    calls::{
        offer::OfferAnswer,
        ports::{Candidates, Ports},
    },
    convert,
    graph::{Answer, GraphError},
    nodes::{Followed, Following, NodeNews},
    store::SessionPlace,
};

/// Nodes that are asked first, as the seed says, and do not take the call.
const SILENT: &str = "silent";
const FULL: &str = "full";

/// How the call is meant to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    CallerHangsUp,
    AiHangsUp,
    ApiEnds,
    NodeLost,
    PreAcceptRefused,
    AcceptRefused,
    NoNode,
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    /// Of the node's one session at a time.
    session_id: String,
    sessions: Vec<String>,
    ended: Vec<String>,
    /// The n-th has number n in its session.
    events: Vec<types::Event>,
    is_lost: bool,
    /// What Graph was asked, when in the life of its process, and whether it did so.
    asked: Vec<(Duration, &'static str, bool)>,
    begun: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) end: End,
    state: Mutex<State>,
}

impl State {
    fn push(&mut self, kind: Kind) {
        let session_id = self.session_id.clone();
        self.events.push(types::Event { session_id, kind: Some(kind), ..types::Event::default() });
    }

    fn is_ended(&self) -> bool {
        self.ended.contains(&self.session_id)
    }

    fn has(&self, wanted: impl Fn(&Kind) -> bool) -> bool {
        self.events.iter().filter_map(|event| event.kind.as_ref()).any(wanted)
    }

    fn end_session(&mut self, termination: &Termination) {
        if !self.is_ended() {
            let termination = Some(convert::termination_to_wire(termination));
            self.push(Kind::SessionEnded(types::SessionEnded { termination, ..types::SessionEnded::default() }));
            self.ended.push(self.session_id.clone());
        }
    }

    fn stage(&mut self, stage: types::Stage) {
        self.push(Kind::StageReached(types::StageReached { stage: stage.into() }));
    }
}

fn is_bridge(kind: &Kind) -> bool {
    matches!(kind, Kind::StageReached(reached) if reached.stage() == types::Stage::MediaBridgeActive)
}

impl Outside {
    pub(super) fn new(end: End, seed: u64) -> Self {
        Self { end, state: Mutex::new(State { seed: seed ^ 0x0075_1DE5, ..State::default() }) }
    }

    async fn takes(&self, at_most_ms: u64) {
        let took = draw(&mut self.state.lock().unwrap().seed, at_most_ms);
        tokio::time::sleep(Duration::from_millis(took)).await;
    }

    pub(super) fn is_talking(&self) -> bool {
        self.state.lock().unwrap().has(is_bridge)
    }

    /// By the AI, or because the node dies.
    pub(super) fn end_it(&self) {
        let mut state = self.state.lock().unwrap();
        match self.end {
            End::NodeLost => state.is_lost = true,
            _ => state.end_session(&Termination::new(TerminationResult::Completed, "AGENT_HANGUP", "")),
        }
    }

    /// When Graph was first asked for this, and whether it did so.
    pub(super) fn asked(&self, action: &str) -> Option<(Duration, bool)> {
        let state = self.state.lock().unwrap();
        state.asked.iter().find(|(_, asked, _)| *asked == action).map(|(at, _, done)| (*at, *done))
    }

    /// Meta knows of the end, no slot is kept, and nothing was said twice that may be said once only.
    pub(super) fn check(&self, reason: &str, context: &str) {
        let state = self.state.lock().unwrap();
        if !state.is_lost {
            for session in &state.sessions {
                assert!(state.ended.contains(session), "{context}: the slot of {session} is kept");
            }
        }
        let done = |wanted: &str| state.asked.iter().filter(|(_, action, done)| *action == wanted && *done).count();
        assert!(done("accept") <= 1, "{context}: answered twice: {:?}", state.asked);
        let told = done("reject") + done("terminate") > 0;
        let knows = reason == "USER_HANGUP" || reason == "CALLER_ABANDONED";
        assert!(told || knows, "{context}: Meta does not know of the end {reason}: {:?}", state.asked);
    }
}

#[async_trait]
impl Ports for Outside {
    fn candidates(&self, _: &Caller) -> Candidates {
        let mut state = self.state.lock().unwrap();
        let others = match draw(&mut state.seed, 3) {
            0 => vec![SILENT, FULL],
            1 => vec![FULL],
            _ => Vec::new(),
        };
        let taking = (self.end != End::NoNode).then_some("node-1");
        let nodes: Vec<_> = others.into_iter().chain(taking).collect();
        let (known, attempt) = (nodes.len(), state.sessions.len() + 1);
        let sessions = nodes.into_iter().map(move |node_id| SessionPlace {
            session_id: format!("s{attempt}-{node_id}"),
            node_id: node_id.to_owned(),
            node_url: "http://127.0.0.1:1".to_owned(),
            region: "sa".to_owned(),
        });
        Candidates { known, sessions: Box::new(sessions) }
    }

    async fn start_session(&self, session: &SessionPlace, _: StartSessionRequest) -> Result<OfferAnswer, Status> {
        self.takes(20).await;
        match session.node_id.as_str() {
            SILENT => return Err(Status::deadline_exceeded("nobody there")),
            FULL => return Err(status(Code::ResourceExhausted, "NODE_FULL", "full", &[])),
            _ => {}
        }
        {
            let mut state = self.state.lock().unwrap();
            state.session_id.clone_from(&session.session_id);
            state.sessions.push(session.session_id.clone());
            state.events.clear();
            state.push(Kind::OfferAnswered(types::OfferAnswered::default()));
            state.push(Kind::ProviderReady(types::ProviderReady::default()));
        }
        self.takes(20).await;
        Ok(OfferAnswer { sdp: "v=0 answer".to_owned(), warnings: Vec::new() })
    }

    async fn given_answer(&self, _: &SessionPlace, _: StartSessionRequest) -> Result<OfferAnswer, Status> {
        Err(Status::not_found("only self-held calls ask for it"))
    }

    async fn sessions(&self, _: &str) -> Result<Vec<Session>, Status> {
        Ok(Vec::new())
    }

    async fn may_act(&self) {}

    fn graph_number(&self, of_call: &str) -> Option<String> {
        Some(of_call.to_owned())
    }

    async fn graph(
        &self,
        _: Option<&str>,
        _: &Wacid,
        action: GraphAction,
        _: Option<&Sdp>,
        _: std::time::Instant,
    ) -> Answer {
        let at = {
            let mut state = self.state.lock().unwrap();
            let begun = *state.begun.get_or_insert_with(Instant::now);
            Instant::now().saturating_duration_since(begun)
        };
        self.takes(60).await;
        let refused = match self.end {
            End::PreAcceptRefused => action == GraphAction::PreAccept,
            End::AcceptRefused => action == GraphAction::Accept,
            _ => false,
        };
        self.state.lock().unwrap().asked.push((at, action.word(), !refused));
        // The way back.
        self.takes(60).await;
        let error = refused.then(|| GraphError { code: 138_003, ..GraphError::default() });
        let status = if refused { 400 } else { 200 };
        Answer { status, duration_ms: 1, error, silence: None, doubt: None, retry_after: None, may_be_done: false }
    }

    async fn tell_holder(&self, _: &Notice, _: &(dyn Fn() -> bool + Send + Sync)) -> Result<(), CallbackError> {
        Ok(())
    }

    async fn advance_session(
        &self,
        session: &SessionPlace,
        stage: SignallingStage,
    ) -> Result<types::SignallingStage, Status> {
        self.takes(10).await;
        let mut state = self.state.lock().unwrap();
        if state.is_lost {
            return Err(Status::unavailable("lost"));
        }
        if state.session_id != session.session_id || state.is_ended() {
            return Err(Status::failed_precondition("ended"));
        }
        match stage {
            SignallingStage::AnswerDelivered => {
                state.push(Kind::TransportConnected(types::TransportConnected::default()))
            }
            SignallingStage::Accepted if !state.has(is_bridge) => {
                state.stage(types::Stage::MediaBridgeActive);
                for n in 0..5 {
                    let text = format!("text {n}");
                    state.push(Kind::Transcript(types::Transcript { text, ..types::Transcript::default() }));
                }
            }
            SignallingStage::Accepted => {}
        }
        Ok(convert::signalling_stage_to_wire(stage))
    }

    async fn end_session(&self, session: &SessionPlace, termination: &Termination) -> Result<(), Status> {
        self.takes(10).await;
        let mut state = self.state.lock().unwrap();
        if state.is_lost {
            return Err(Status::unavailable("lost"));
        }
        if state.session_id != session.session_id || state.is_ended() {
            return Err(Status::not_found("no such session"));
        }
        state.end_session(termination);
        Ok(())
    }

    async fn follow(&self, followed: Followed, news: mpsc::Sender<NodeNews>) -> Following {
        let mut after = followed.after;
        loop {
            let next = {
                let state = self.state.lock().unwrap();
                if state.is_lost {
                    return Following::NodeLost;
                }
                if state.session_id != followed.session_id {
                    return Following::SessionUnknown;
                }
                state.events.get(after as usize).cloned()
            };
            let Some(event) = next else {
                tokio::time::sleep(Duration::from_millis(3)).await;
                continue;
            };
            after += 1;
            let is_last = matches!(event.kind, Some(Kind::SessionEnded(_)));
            if news.send(NodeNews::Event { session_sequence: after, event: Box::new(event) }).await.is_err() || is_last
            {
                return Following::Ended;
            }
        }
    }
}
