#![allow(clippy::unwrap_used)]

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_tungstenite::{accept_hdr_async, tungstenite::handshake::server};

use super::*;

async fn listener() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/realtime?model=m", listener.local_addr().unwrap());
    let headers = vec![("authorization", "Bearer sk-1".to_owned())];
    (listener, Endpoint { url, headers })
}

fn target(endpoint: Endpoint) -> Target {
    Target { endpoint, decode: |_| Decoded::Other, ping: None }
}

#[tokio::test]
#[allow(clippy::result_large_err)] // The signature is tungstenite's.
async fn messages_pass_both_ways_and_closing_is_polite() {
    let (listener, endpoint) = listener().await;
    let (outbox, mut inbox) = open(target(endpoint), Bell::default());
    outbox.push_control(Frame::Text("hello"));
    let (stream, _) = listener.accept().await.unwrap();
    let mut authorised = false;
    let mut server = accept_hdr_async(stream, |request: &server::Request, response: server::Response| {
        authorised = request.headers()["authorization"] == "Bearer sk-1" && request.uri().query() == Some("model=m");
        Ok(response)
    })
    .await
    .unwrap();
    assert!(authorised);
    assert!(matches!(inbox.recv().await, Some(Arrival::Opened)));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("hello"));
    let large = "x".repeat(3 * 1024 * 1024);
    server.send(Message::text(large.clone())).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Arrival::Text(text)) if text.as_str() == large));
    outbox.push_control(Frame::Text("goodbye"));
    outbox.close();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("goodbye"));
    assert!(
        matches!(server.next().await.unwrap().unwrap(), Message::Close(Some(frame)) if frame.code == CloseCode::Normal)
    );
    assert!(inbox.recv().await.is_none(), "who closes is not told");
}

#[tokio::test]
async fn close_codes_are_reported() {
    let (listener, endpoint) = listener().await;
    let (_outbox, mut inbox) = open(target(endpoint), Bell::default());
    let (stream, _) = listener.accept().await.unwrap();
    let mut server = tokio_tungstenite::accept_async(stream).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Arrival::Opened)));
    let frame = CloseFrame { code: CloseCode::Away, reason: "60 minutes".into() };
    server.close(Some(frame)).await.unwrap();
    let Some(Arrival::Closed(closed)) = inbox.recv().await else { panic!("no close") };
    assert_eq!(closed, Closed::Closed { code: 1001, reason: "60 minutes".into() });
}

#[tokio::test]
async fn a_broken_connection_is_1006() {
    let (listener, endpoint) = listener().await;
    let (_outbox, mut inbox) = open(target(endpoint), Bell::default());
    let (stream, _) = listener.accept().await.unwrap();
    let server = tokio_tungstenite::accept_async(stream).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Arrival::Opened)));
    drop(server);
    assert!(matches!(inbox.recv().await, Some(Arrival::Closed(Closed::Closed { code: 1006, .. }))));
}

#[tokio::test]
async fn a_refused_upgrade_says_status_and_body() {
    let (listener, endpoint) = listener().await;
    let (_outbox, mut inbox) = open(target(endpoint), Bell::default());
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 2048];
    let _ = stream.read(&mut request).await.unwrap();
    let body = r#"{"error":{"code":"invalid_api_key"}}"#;
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    let Some(Arrival::Closed(Closed::Refused { status, body: said })) = inbox.recv().await else {
        panic!("not refused")
    };
    assert_eq!((status, said.as_str()), (401, body));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let (listener, endpoint) = listener().await;
    drop(listener);
    let (_outbox, mut inbox) = open(target(endpoint), Bell::default());
    assert!(matches!(inbox.recv().await, Some(Arrival::Closed(Closed::Unreachable(_)))));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let (listener, endpoint) = listener().await;
    let timing = Timing { ping_every: Duration::from_millis(40), ..Timing::default() };
    let (_outbox, mut inbox) = open_with(target(endpoint), Bell::default(), timing);
    let (stream, _) = listener.accept().await.unwrap();
    // Never reads, so never answers a ping.
    let _server = tokio_tungstenite::accept_async(stream).await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Arrival::Opened)));
    let began = Instant::now();
    let Some(Arrival::Closed(Closed::Closed { code: 1006, reason })) = inbox.recv().await else { panic!("still open") };
    assert!(reason.contains("pings"), "{reason}");
    assert!(began.elapsed() >= Duration::from_millis(110), "two pings and a last wait: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_upgrade_is_unreachable() {
    let (listener, endpoint) = listener().await;
    let timing = Timing { connect: Duration::from_millis(50), ..Timing::default() };
    let (_outbox, mut inbox) = open_with(target(endpoint), Bell::default(), timing);
    let _stream = listener.accept().await.unwrap();
    assert!(matches!(inbox.recv().await, Some(Arrival::Closed(Closed::Unreachable(_)))));
}

#[tokio::test]
async fn a_session_that_ends_while_connecting_ends_the_task() {
    let (listener, endpoint) = listener().await;
    let (_outbox, inbox) = open(target(endpoint), Bell::default());
    let (mut stream, _) = listener.accept().await.unwrap();
    drop(inbox);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}
