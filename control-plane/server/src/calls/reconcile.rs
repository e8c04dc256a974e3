//! When a node registers, its sessions are compared with our calls: what belongs to a call that is over, or that went on
//! elsewhere, is ended, so that the slot is free. Sessions of calls we know nothing of belong to somebody else.

use tokio::sync::mpsc;
use voicebridge_core::{
    identity::CallName,
    termination::{Termination, TerminationResult, reason},
};
use voicebridge_proto::media::v1::Session;

use super::environment::Environment;
use crate::store::{CallRow, SessionPlace, StoreError};

/// Runs until the sender is gone or the process ends. `arrivals` are ids and addresses.
pub(super) async fn reconcile(environment: Environment, mut arrivals: mpsc::Receiver<(String, String)>) {
    loop {
        let (node_id, node_url) = tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(arrival) => arrival,
                None => return,
            },
            () = environment.lifetime.detached() => return,
        };
        match environment.ports.sessions(&node_url).await {
            Ok(sessions) => {
                for session in sessions {
                    end_if_orphaned(&environment, &node_id, &node_url, session).await;
                }
            }
            Err(status) => {
                tracing::warn!(node = node_id, code = ?status.code(), "the node's sessions could not be listed");
            }
        }
    }
}

/// A version before ours told nodes Meta's id, which may look like one of ours where a caller of the API chose it.
async fn find(environment: &Environment, name: &CallName) -> Result<Option<CallRow>, StoreError> {
    if let Some(call_id) = &name.call_id
        && let Some(row) = environment.store.call(call_id).await?
    {
        return Ok(Some(row));
    }
    environment.store.call_by_wacid(&name.wacid).await
}

async fn end_if_orphaned(environment: &Environment, node_id: &str, node_url: &str, session: Session) {
    let Ok(name) = CallName::parse(&session.call_id) else { return };
    let row = match find(environment, &name).await {
        Ok(Some(row)) => row,
        Ok(None) => return,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(
                node = node_id,
                session = session.session_id,
                error,
                "the session's call could not be read"
            );
            return;
        }
    };
    let call_id = row.call_id;
    let is_ours = row.session.as_ref().is_some_and(|ours| ours.session_id == session.session_id);
    if is_ours && row.ended_at_ms.is_none() {
        return;
    }
    let termination = row.termination.unwrap_or_else(|| {
        Termination::new(TerminationResult::Failed, reason::NODE_LOST, "The call went on at another node.")
    });
    tracing::warn!(%call_id, node = node_id, session = session.session_id, "ending a session left behind");
    let place = SessionPlace {
        session_id: session.session_id,
        node_id: node_id.to_owned(),
        node_url: node_url.to_owned(),
        region: String::new(),
    };
    if let Err(status) = environment.ports.end_session(&place, &termination).await {
        tracing::warn!(%call_id, code = ?status.code(), "the session left behind could not be ended");
    }
}
