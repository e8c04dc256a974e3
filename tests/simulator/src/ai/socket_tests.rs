#![allow(clippy::unwrap_used)]
//! The server over real sockets: upgrade, refusals, closing, disruptions, many sessions at once.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{
    AiSettings, CloseFault, Disruption, Faults, Mode, RealtimeServer, UnknownModel,
    protocol::{decode_audio, encode_audio},
};
use crate::speech::{Role, fixture, fixtures, recognise};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const FRAME: Duration = Duration::from_millis(20);

/// A client of one session.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(server: &RealtimeServer) -> Self {
        Self::with(server, "gpt-realtime-2.1", &[("authorization", "Bearer sk-test")]).await.unwrap()
    }

    async fn with(server: &RealtimeServer, model: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = format!("{}?model={model}", server.url()).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        connect_async(request).await.map(|(socket, _)| Self(socket))
    }

    async fn send(&mut self, event: Value) {
        self.0.send(Message::text(event.to_string())).await.unwrap();
    }

    async fn append(&mut self, pcm: &[i16]) {
        self.send(json!({"type": "input_audio_buffer.append", "audio": encode_audio(pcm)})).await;
    }

    /// The next event, or how the socket ended.
    async fn next(&mut self) -> Result<Value, Option<(u16, String)>> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("something in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next event of that type; the others are dropped.
    async fn wait(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }

    async fn configure(&mut self) {
        self.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {
            "transcription": {"model": "gpt-transcribe"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
        }}}}))
        .await;
        self.wait("session.updated").await;
    }

    /// Everything until the end of a response; returns its audio.
    async fn hear_response(&mut self) -> Vec<i16> {
        let mut pcm = Vec::new();
        loop {
            let event = self.next().await.unwrap();
            match event["type"].as_str().unwrap() {
                "response.output_audio.delta" => pcm.extend(decode_audio(event["delta"].as_str().unwrap()).unwrap()),
                "response.done" => return pcm,
                _ => {}
            }
        }
    }
}

async fn server(settings: AiSettings) -> RealtimeServer {
    RealtimeServer::start(settings).await.unwrap()
}

fn with(faults: Faults) -> AiSettings {
    AiSettings { faults, ..AiSettings::default() }
}

#[track_caller]
fn status_and_body(outcome: Result<Client, Error>) -> (u16, Value) {
    match outcome {
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().map(|body| serde_json::from_slice(body).unwrap());
            (response.status().as_u16(), body.unwrap_or_default())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the upgrade succeeded"),
    }
}

#[tokio::test]
async fn a_session_opens_and_headers_are_recorded_without_the_key() {
    let server = server(AiSettings { api_key: Some("sk-test".to_owned()), ..AiSettings::default() }).await;
    let headers = [("authorization", "Bearer sk-test"), ("openai-safety-identifier", "abc")];
    let mut client = Client::with(&server, "gpt-realtime-2.1-mini", &headers).await.unwrap();
    assert_eq!(client.next().await.unwrap()["session"]["model"], "gpt-realtime-2.1-mini");
    client.0.close(None).await.unwrap();
    assert!(server.until(PATIENCE, |sessions| sessions[0].closed.is_some()).await);
    let record = server.sessions().remove(0);
    assert_eq!((record.index, record.http_status, record.model.as_str()), (0, 101, "gpt-realtime-2.1-mini"));
    assert_eq!(record.headers["openai-safety-identifier"], "abc");
    assert!(!format!("{record:?}").contains("sk-test"));
    assert_eq!(record.closed.as_deref(), Some("client closed"));
}

#[tokio::test]
async fn wrong_keys_get_the_real_body() {
    let server = server(AiSettings { api_key: Some("sk-test".to_owned()), ..AiSettings::default() }).await;
    let wrong = Client::with(&server, "gpt-realtime-2.1", &[("authorization", "Bearer sk-wrong")]).await;
    let (status, body) = status_and_body(wrong);
    assert_eq!((status, body["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    let (status, body) = status_and_body(Client::with(&server, "gpt-realtime-2.1", &[]).await);
    assert_eq!((status, body["error"]["type"].as_str()), (401, Some("invalid_request_error")));
    assert_eq!(
        server.inspect(|sessions| sessions.iter().map(|session| session.http_status).collect::<Vec<_>>()),
        [401, 401]
    );
}

#[tokio::test]
async fn upgrades_are_refused_on_demand() {
    for status in [401, 403, 404, 429, 500] {
        let server = server(with(Faults { refuse_upgrade: Some(status), ..Faults::default() })).await;
        let refused = Client::with(&server, "gpt-realtime-2.1", &[("authorization", "Bearer k")]).await;
        assert_eq!(status_and_body(refused).0, status);
    }
}

/// The code of the error event and the close frame after it.
async fn refused_after_upgrade(
    server: &RealtimeServer,
    model: &str,
    headers: &[(&'static str, &str)],
) -> (String, (u16, String)) {
    let mut client = Client::with(server, model, headers).await.unwrap();
    let event = client.next().await.unwrap();
    assert_eq!(event["type"], "error");
    let close = client.next().await.unwrap_err().expect("a close frame");
    (event["error"]["code"].as_str().unwrap().to_owned(), close)
}

#[tokio::test]
async fn unknown_models_and_the_beta_header_are_refused_as_at_openai() {
    let key = ("authorization", "Bearer k");
    let event_server = server(AiSettings::default()).await;
    let (code, close) = refused_after_upgrade(&event_server, "gpt-5-realtime", &[key]).await;
    assert_eq!(
        (code.as_str(), close),
        ("model_not_found", (4_000, "invalid_request_error.model_not_found".to_owned()))
    );
    let (code, _) =
        refused_after_upgrade(&event_server, "gpt-realtime-2.1", &[key, ("openai-beta", "realtime=v1")]).await;
    assert_eq!(code, "beta_api_shape_disabled");
    assert!(event_server.until(PATIENCE, |sessions| sessions.iter().all(|session| session.closed.is_some())).await);
    assert_eq!(event_server.sessions()[0].violations[0].code.as_deref(), Some("model_not_found"));

    let http_server = server(AiSettings { unknown_model: UnknownModel::Http, ..AiSettings::default() }).await;
    let (status, body) = status_and_body(Client::with(&http_server, "gpt-5-realtime", &[key]).await);
    assert_eq!((status, body["error"]["code"].as_str()), (404, Some("model_not_found")));
}

#[tokio::test]
async fn a_spoken_turn_is_recognised_and_answered() {
    let server = server(AiSettings::default()).await;
    let mut client = Client::connect(&server).await;
    client.configure().await;
    client.append(&fixture("shipping-cost").unwrap().pcm).await;
    client.append(&[0; 24_000]).await;
    let transcription = client.wait("conversation.item.input_audio_transcription.completed").await;
    assert_eq!(transcription["transcript"], fixture("shipping-cost").unwrap().text.as_str());
    let heard = client.hear_response().await;
    let recognised = recognise(&heard).unwrap();
    let record = server.sessions().remove(0);
    assert_eq!(recognised.name, record.replies[0].name);
    assert_eq!(heard, record.replies[0].pcm);
    assert_eq!(record.utterances[0].recognised.as_ref().unwrap().name, "shipping-cost");
    assert_eq!(record.violations, []);
}

#[tokio::test]
async fn close_codes_arrive_as_asked_for() {
    let server = server(AiSettings::default()).await;
    for (index, code) in [1_001, 1_011].into_iter().enumerate() {
        let mut client = Client::connect(&server).await;
        client.wait("conversation.created").await;
        assert!(server.disrupt(index, Disruption::Close(CloseFault::Code(code))).await);
        assert_eq!(client.next().await.unwrap_err().map(|(code, _)| code), Some(code));
    }
    let mut client = Client::connect(&server).await;
    client.wait("conversation.created").await;
    assert!(server.disrupt(2, Disruption::Close(CloseFault::Abort)).await);
    assert_eq!(client.next().await.unwrap_err(), None, "no close frame: 1006");
    assert!(server.until(PATIENCE, |sessions| sessions[2].closed.as_deref() == Some("aborted by the server")).await);
    assert!(!server.disrupt(9, Disruption::Freeze).await);
}

#[tokio::test]
async fn a_silent_server_answers_pings_and_a_frozen_one_does_not() {
    let server = server(AiSettings::default()).await;
    let mut client = Client::connect(&server).await;
    client.configure().await;
    assert!(server.disrupt(0, Disruption::Silence).await);
    client.send(json!({"type": "response.create"})).await;
    assert!(server.until(PATIENCE, |sessions| !sessions[0].replies.is_empty()).await);
    client.0.send(Message::Ping("a".into())).await.unwrap();
    let first = timeout(PATIENCE, client.0.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, Message::Pong("a".into()), "a pong, and no event before it");

    assert!(server.disrupt(0, Disruption::Freeze).await);
    client.0.send(Message::Ping("b".into())).await.unwrap();
    assert!(timeout(Duration::from_millis(300), client.0.next()).await.is_err());

    assert!(server.disrupt(0, Disruption::Resume).await);
    assert_eq!(client.next().await.unwrap()["type"], "response.created", "what was held back comes in order");
    assert!(!client.hear_response().await.is_empty());
}

#[tokio::test]
async fn a_session_falls_silent_by_its_settings() {
    let server = server(with(Faults { stall_after: Some(Duration::ZERO), ..Faults::default() })).await;
    let mut client = Client::connect(&server).await;
    client.configure().await;
    client.send(json!({"type": "response.create"})).await;
    assert!(server.until(PATIENCE, |sessions| !sessions[0].replies.is_empty()).await);
    assert!(timeout(Duration::from_millis(300), client.next()).await.is_err());
}

#[tokio::test]
async fn a_large_append_passes_and_a_larger_message_ends_the_connection() {
    let server = server(AiSettings::default()).await;
    let mut client = Client::connect(&server).await;
    client.configure().await;
    client.append(&vec![0; 5 * 1024 * 1024]).await;
    assert!(server.until(PATIENCE, |sessions| sessions[0].appends.samples == 5 * 1024 * 1024).await);
    client.0.send(Message::text("x".repeat(25 * 1024 * 1024))).await.ok();
    assert!(server.until(PATIENCE, |sessions| sessions[0].closed.is_some()).await);
}

#[tokio::test]
async fn an_echo_returns_within_moments() {
    let server = server(AiSettings { mode: Mode::Echo, ..AiSettings::default() }).await;
    let mut client = Client::connect(&server).await;
    client.configure().await;
    for frame in fixture("invoice").unwrap().pcm.chunks_exact(480).take(50) {
        client.append(frame).await;
        let delta = client.wait("response.output_audio.delta").await;
        assert_eq!(decode_audio(delta["delta"].as_str().unwrap()).as_deref(), Some(frame));
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let mut wrong_name = AiSettings::default();
    wrong_name.replies.rotation.push("no-such-fixture".to_owned());
    let no_chunks = AiSettings { chunk_samples: Vec::new(), ..AiSettings::default() };
    let too_slow = AiSettings { speed: 0.0, ..AiSettings::default() };
    for settings in [wrong_name, no_chunks, too_slow] {
        assert_eq!(RealtimeServer::start(settings).await.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn dropping_the_server_ends_its_sessions() {
    let server = server(AiSettings::default()).await;
    let mut client = Client::connect(&server).await;
    client.configure().await;
    drop(server);
    assert_eq!(client.next().await.unwrap_err(), None);
}

/// Twenty callers speak at once, each frame when it is due, and each gets the answer to what it said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sessions_at_once_keep_apart() {
    const SESSIONS: usize = 20;
    let server = server(AiSettings::default()).await;
    let callers: Vec<_> = fixtures().iter().filter(|fixture| fixture.role == Role::Caller).collect();
    let mut clients = Vec::new();
    for session in 0..SESSIONS {
        let mut client = Client::connect(&server).await;
        client.configure().await;
        let spoken = callers[session % callers.len()];
        clients.push(tokio::spawn(async move {
            let mut tick = tokio::time::interval(FRAME);
            let silence = [0_i16; 480];
            for frame in spoken.pcm.chunks(480).chain(std::iter::repeat_n(silence.as_slice(), 40)) {
                tick.tick().await;
                client.append(frame).await;
            }
            (session, spoken, client.hear_response().await)
        }));
    }
    for client in clients {
        let (session, spoken, heard) = client.await.unwrap();
        server.inspect(|sessions| {
            let record = &sessions[session];
            assert_eq!(record.utterances[0].recognised.as_ref().unwrap().name, spoken.name);
            assert_eq!(heard, record.replies[0].pcm);
            assert!(recognise(&heard).is_some_and(|heard| heard.name == record.replies[0].name));
            assert_eq!(record.violations, []);
        });
    }
}
