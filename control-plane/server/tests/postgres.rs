//! The control plane on PostgreSQL: it is restarted under a call, has another owner, is waited for.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use support::{Graph, Node, Plane, connect, plane, terminate};
use voicebridge_postgres::Server;
use voicebridge_proto::{
    control::v1::CallPhase,
    types::v1::{TerminationResult, Transcript, event::Kind},
};

async fn on(url: String) -> (Graph, Plane, Node) {
    let graph = Graph::start().await;
    let plane = Plane::start_on(plane::config(&graph.url), Some(url)).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    (graph, plane, node)
}

fn said(text: &str) -> Kind {
    Kind::Transcript(Transcript { text: text.to_owned(), ..Transcript::default() })
}

/// Runs what waits for a process outside of the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Waits until the call has these words, and no others.
async fn all_are_stored(plane: &Plane, call_id: &str, words: &[String]) {
    let said = plane.said(call_id, words.len()).await;
    assert_eq!(said.into_iter().map(|said| said.text).collect::<Vec<_>>(), words);
}

/// A call that talks, on a PostgreSQL that can be killed.
struct Talk {
    server: Arc<Server>,
    graph: Graph,
    plane: Plane,
    node: Node,
    session: String,
    words: Vec<String>,
}

impl Talk {
    async fn begin() -> Self {
        let server = Arc::new(blocking(Server::start).await);
        let made = Arc::clone(&server);
        let (graph, plane, node) = on(blocking(move || made.database()).await).await;
        plane.deliver(&[connect("talks")]).await;
        let session = plane.phase("talks", CallPhase::Active).await.session_id;
        Self { server, graph, plane, node, session, words: Vec::new() }
    }

    fn say(&mut self, words: usize) {
        for _ in 0..words {
            let word = format!("word {}", self.words.len());
            self.node.emit(&self.session, said(&word));
            self.words.push(word);
        }
    }

    async fn crash(&self) {
        let server = Arc::clone(&self.server);
        blocking(move || server.crash()).await;
    }

    async fn restart(&self) {
        let server = Arc::clone(&self.server);
        blocking(move || server.restart()).await;
    }

    /// Nothing was lost, nobody was hung up on, and the call ends as any other.
    async fn ends_well(&self) {
        all_are_stored(&self.plane, "talks", &self.words).await;
        assert!(self.node.session("talks", "session", |_| true).await.ended.is_none());
        self.plane.deliver(&[terminate("talks")]).await;
        assert_eq!(self.plane.ended("talks").await.1, "USER_HANGUP");
        assert_eq!(self.graph.actions("talks"), ["pre_accept", "accept"]);
    }
}

#[tokio::test]
async fn a_call_goes_on_while_postgres_is_restarted() {
    let mut talk = Talk::begin().await;
    talk.say(20);
    talk.crash().await;
    talk.say(20);
    talk.restart().await;
    talk.say(20);
    talk.ends_well().await;
}

/// Nobody else could take the calls meanwhile.
#[tokio::test]
async fn a_call_goes_on_when_postgres_is_away_for_longer_than_the_lease() {
    let mut talk = Talk::begin().await;
    talk.crash().await;
    talk.say(20);
    let began = Instant::now();
    assert!(talk.plane.deliver(&[connect("comes")]).await >= 500, "Meta is to deliver it again");
    tokio::time::sleep(Duration::from_secs(4).saturating_sub(began.elapsed())).await;
    talk.restart().await;
    support::until("Meta's next delivery is taken", || async {
        (talk.plane.deliver(&[connect("comes")]).await == 200).then_some(())
    })
    .await;
    talk.plane.phase("comes", CallPhase::Active).await;
    assert_eq!(talk.graph.actions("comes"), ["pre_accept", "accept"]);
    talk.ends_well().await;
}

#[tokio::test]
async fn the_next_process_has_the_calls_seconds_after_a_kill() {
    let (graph, mut plane, node) = on(blocking(voicebridge_postgres::database).await).await;
    plane.deliver(&[connect("lives")]).await;
    plane.phase("lives", CallPhase::Active).await;
    let refused = plane.second(Duration::ZERO).await.unwrap_err();
    assert!(format!("{refused:#}").contains("VOICEBRIDGE_DATABASE_WAIT_S"), "{refused:#}");
    plane.kill();
    let killed = Instant::now();
    plane.restart().await;
    // 5 s by the lease, see store/lease/tests.rs; here on a busy machine.
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    plane.nodes(1).await;
    assert_eq!(plane.call("lives").await.unwrap().phase(), CallPhase::Active);
    let session = node.session("lives", "session", |_| true).await.session_id;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("lives").await.1, "AGENT_HANGUP");
    assert_eq!(graph.actions("lives"), ["pre_accept", "accept", "terminate"]);
}

#[tokio::test]
async fn a_process_that_ends_politely_is_followed_at_once() {
    let (_graph, mut plane, _node) = on(blocking(voicebridge_postgres::database).await).await;
    plane.deliver(&[connect("lives")]).await;
    plane.phase("lives", CallPhase::Active).await;
    plane.terminate().await.unwrap();
    plane.second(Duration::ZERO).await.unwrap();
    plane.restart().await;
    plane.nodes(1).await;
    assert_eq!(plane.call("lives").await.unwrap().phase(), CallPhase::Active);
}

#[tokio::test]
async fn a_process_whose_calls_were_taken_over_ends_and_tells_nobody() {
    let url = blocking(voicebridge_postgres::database).await;
    let (graph, mut plane, node) = on(url.clone()).await;
    plane.deliver(&[connect("lives")]).await;
    plane.phase("lives", CallPhase::Active).await;
    blocking(move || {
        let database = url.rsplit('/').next().unwrap();
        let sql = "UPDATE voicebridge.owner SET generation = generation + 1, holder = 'another'";
        voicebridge_postgres::shared().sql(database, sql)
    })
    .await;
    let why = format!("{:#}", plane.end().await);
    assert!(why.contains("another process has taken the database's calls over"), "{why}");
    assert!(node.session("lives", "session", |_| true).await.ended.is_none());
    assert_eq!(graph.actions("lives"), ["pre_accept", "accept"]);
}

/// PostgreSQL has no text with a NUL, SQLite does: it is taken out before either sees it.
#[tokio::test]
async fn a_name_with_a_nul_is_the_same_on_both_databases() {
    for url in [None, Some(blocking(voicebridge_postgres::database).await)] {
        let graph = Graph::start().await;
        let plane = Plane::start_on(plane::config(&graph.url), url).await;
        let body = support::delivery(&[connect("named")]).replace("An\u{e1}", "An\\u0000\u{e1}");
        assert!(body.contains("\\u0000"));
        assert_eq!(plane.deliver_raw(&body, Some(&plane::sign(&body))).await.status(), 200);
        assert_eq!(plane.call("named").await.unwrap().caller.unwrap().name, "An\u{e1}");
    }
}

/// As in tests/restart.rs on SQLite.
#[tokio::test]
async fn the_schema_is_touched_by_nobody_but_the_owner_of_the_calls() {
    let url = blocking(voicebridge_postgres::database).await;
    let (_graph, plane, _node) = on(url.clone()).await;
    blocking(move || {
        let newer = "INSERT INTO voicebridge.migrations (version, checksum) VALUES (9999, 'x')";
        voicebridge_postgres::shared().sql(url.rsplit('/').next().unwrap(), newer)
    })
    .await;
    let refused = format!("{:#}", plane.second(Duration::ZERO).await.unwrap_err());
    assert!(refused.contains("another process has the calls of the database"), "{refused}");
}
