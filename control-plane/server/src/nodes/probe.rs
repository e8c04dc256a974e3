//! Asks a node whether it is there, over a connection of its own: one that is open may lead nowhere without our knowing.
//!
//! Only the node itself counts as an answer, and only two things as a proof that its process is gone: that nobody listens at
//! its address, and that another process does. Everything else, from a time-out to an error, is silence.

use std::{
    error::Error,
    io::ErrorKind,
    time::{Duration, Instant},
};

use voicebridge_proto::media::v1::GetNodeRequest;

use super::{Clients, client::DialError, identity::SecretHash};

/// A node to be probed.
#[derive(Clone, Debug)]
pub struct ProbeDue {
    pub(super) node_id: String,
    pub(super) url: String,
    /// Whose process must answer; none of a node that has not registered yet.
    pub(super) secret: Option<SecretHash>,
    /// Goes back with the answer.
    pub(super) begun: Instant,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The node answered; with the hash of its secret, unless it is too old to say.
    Answered(Option<SecretHash>),
    /// Nothing came in time, or nothing that says who answered.
    Unanswered,
    /// Nobody listens at its address any more, or another process does.
    Gone,
}

/// What it found, after `deadline` at the latest.
pub(super) async fn probe(clients: &Clients, due: &ProbeDue, deadline: Duration) -> ProbeOutcome {
    tokio::time::timeout(deadline, ask(clients, due)).await.unwrap_or(ProbeOutcome::Unanswered)
}

async fn ask(clients: &Clients, due: &ProbeDue) -> ProbeOutcome {
    let mut client = match clients.dial(&due.url).await {
        Ok(client) => client,
        Err(DialError::Transport(error)) if is_refused(&error) => return ProbeOutcome::Gone,
        Err(_) => return ProbeOutcome::Unanswered,
    };
    let Ok(answer) = client.get_node(GetNodeRequest {}).await else { return ProbeOutcome::Unanswered };
    let answer = answer.into_inner();
    let Some(node) = answer.node else { return ProbeOutcome::Unanswered };
    let secret = SecretHash::read(&answer.node_secret_sha256);
    let is_another = due.secret.zip(secret).is_some_and(|(owner, found)| owner != found);
    if node.node_id != due.node_id || is_another { ProbeOutcome::Gone } else { ProbeOutcome::Answered(secret) }
}

/// The system at the address answered that nobody listens there.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn due(url: String) -> ProbeDue {
        ProbeDue { node_id: "a".to_owned(), url, secret: None, begun: Instant::now() }
    }

    #[tokio::test]
    async fn a_refused_connection_proves_that_the_process_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let due = due(format!("http://{}", listener.local_addr().unwrap()));
        drop(listener);
        let clients = Clients::new(None).unwrap();
        assert_eq!(probe(&clients, &due, DEADLINE).await, ProbeOutcome::Gone);
    }

    #[tokio::test]
    async fn a_listener_that_hangs_up_or_says_nothing_proves_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let due = due(format!("http://{}", listener.local_addr().unwrap()));
        let clients = Clients::new(None).unwrap();
        // Accepted by the system, read by nobody.
        assert_eq!(probe(&clients, &due, Duration::from_millis(50)).await, ProbeOutcome::Unanswered);
        let hanging_up = tokio::spawn(async move {
            while let Ok(connection) = listener.accept().await {
                drop(connection)
            }
        });
        assert_eq!(probe(&clients, &due, DEADLINE).await, ProbeOutcome::Unanswered);
        hanging_up.abort();
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_proves_nothing() {
        let clients = Clients::new(None).unwrap();
        assert_eq!(probe(&clients, &due("http://[".to_owned()), DEADLINE).await, ProbeOutcome::Unanswered);
    }
}
