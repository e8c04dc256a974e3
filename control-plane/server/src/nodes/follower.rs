//! Follows the events of one session: from the last one stored, over broken streams, for as long as the node is there.
//!
//! Whoever receives the events stores them and drops repetitions by their sequence; a full mailbox holds the stream back,
//! and the node buffers within its own bound. A node that has not registered, as after our own start, is followed all the
//! same; whether it is there is found out meanwhile.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tonic::{Code, Status};
use voicebridge_proto::{
    media::v1::{GetSessionRequest, StreamEventsRequest},
    types::v1::{self as types, event::Kind},
};
use voicebridge_telemetry::status::reason;

use super::{Clients, Liveness, Registry};

/// First pause before a broken stream is opened again; doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// For the one unary request made here.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// What an open stream of a lost node gets to end by itself: a process on its way out listens no more and still sends what
/// happened last.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// What a follower passes on, in order.
#[derive(Debug)]
pub(crate) enum NodeNews {
    /// Something happened on the call.
    Event {
        /// Its number in the session; 0 for transient kinds.
        session_sequence: u64,
        event: Box<types::Event>,
    },
    /// Events after this one and up to the other are gone from the node's buffer.
    EventsGone {
        /// Last one we have.
        after: u64,
        /// Last one that is gone.
        through: u64,
    },
}

/// Why nothing follows any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// The session's end was passed on, or nobody listens.
    Ended,
    /// The node knows nothing of the session, or ended it without our hearing how.
    SessionUnknown,
    /// The node is gone.
    NodeLost,
}

/// What to follow.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) session_id: String,
    pub(crate) node_id: String,
    pub(crate) node_url: String,
    /// Last event stored.
    pub(crate) after: u64,
    /// How long the node may be silent when it has not registered, as after our own restart.
    pub(crate) register_within: Duration,
}

/// Runs until the session has ended, the node is lost, or nobody listens. That the node is lost is told however long what
/// came before waits to be taken.
pub(crate) async fn follow(
    registry: &Registry,
    clients: &Clients,
    followed: Followed,
    news: mpsc::Sender<NodeNews>,
) -> Following {
    let liveness = registry.watch(&followed.node_id, &followed.node_url, followed.register_within, Instant::now());
    let mut watched = liveness.clone();
    let overdue = async {
        lost(&mut watched).await;
        tokio::time::sleep(LAST_EVENTS).await;
    };
    tokio::select! {
        following = attached(clients, followed, &news, liveness) => following,
        () = overdue => Following::NodeLost,
    }
}

async fn lost(liveness: &mut watch::Receiver<Liveness>) {
    // Err: the node's entry is gone, which it is when it was lost.
    let _ = liveness.wait_for(|liveness| *liveness == Liveness::Lost).await;
}

async fn attached(
    clients: &Clients,
    mut followed: Followed,
    news: &mpsc::Sender<NodeNews>,
    mut liveness: watch::Receiver<Liveness>,
) -> Following {
    let mut pause = FIRST_PAUSE;
    loop {
        let before = followed.after;
        let status = match one_stream(clients, &mut followed, news).await {
            Ok(()) => return Following::Ended,
            Err(status) => status,
        };
        match (status.code(), reason(&status).as_deref()) {
            (Code::NotFound, _) => return Following::SessionUnknown,
            (Code::OutOfRange, _) | (_, Some("EVENTS_GONE")) => {
                let after = followed.after;
                match last_sequence(clients, &followed).await {
                    Ok(through) if through > after => {
                        followed.after = through;
                        tracing::warn!(after, through, "events of the node are gone");
                        if news.send(NodeNews::EventsGone { after, through }).await.is_err() {
                            return Following::Ended;
                        }
                    }
                    Ok(_) => {}
                    Err(status) if status.code() == Code::NotFound => return Following::SessionUnknown,
                    Err(_) => {}
                }
            }
            (code, _) => tracing::debug!(?code, "event stream of the node broke"),
        }
        if followed.after > before {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            biased;
            () = lost(&mut liveness) => return Following::NodeLost,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Ok: the session has ended, or nobody listens any more.
async fn one_stream(clients: &Clients, followed: &mut Followed, news: &mpsc::Sender<NodeNews>) -> Result<(), Status> {
    let request = StreamEventsRequest { session_id: followed.session_id.clone(), after_sequence: followed.after };
    let mut stream = clients.client(&followed.node_url)?.stream_events(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        let Some(event) = response.event else { continue };
        let session_sequence = response.session_sequence;
        followed.after = followed.after.max(session_sequence);
        let is_last = matches!(event.kind, Some(Kind::SessionEnded(_)));
        let told = NodeNews::Event { session_sequence, event: Box::new(event) };
        if news.send(told).await.is_err() || is_last {
            return Ok(());
        }
    }
    Err(Status::unavailable("the node closed the stream before the session ended"))
}

async fn last_sequence(clients: &Clients, followed: &Followed) -> Result<u64, Status> {
    let request = GetSessionRequest { session_id: followed.session_id.clone() };
    let mut client = clients.client(&followed.node_url)?;
    let response = tokio::time::timeout(REQUEST_TIMEOUT, client.get_session(request))
        .await
        .map_err(|_| Status::deadline_exceeded("the node did not answer"))??;
    let session = response.into_inner().session.ok_or_else(|| Status::internal("the node sent no session"))?;
    // The end itself is wanted: it carries statistics and usage.
    let ended = session.termination.is_some();
    Ok(if ended { session.last_sequence.saturating_sub(1) } else { session.last_sequence })
}
