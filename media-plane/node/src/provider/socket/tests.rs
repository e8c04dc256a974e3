//! A provider's socket against real servers on loopback: opening, messages both ways, every way to end.

#![allow(clippy::unwrap_used)]

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        handshake::server,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

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

/// The next arrival; `None` after the last.
async fn next(incoming: &mut Incoming) -> Option<Arrival> {
    loop {
        if let Some(arrival) = incoming.take() {
            return Some(arrival);
        }
        // In this order: what was put in before the other end went is then seen.
        if incoming.is_abandoned() && incoming.is_empty() {
            return None;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
#[allow(clippy::result_large_err)] // The signature is tungstenite's.
async fn messages_pass_both_ways_and_closing_is_polite() {
    let (listener, endpoint) = listener().await;
    let (mut outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    outgoing.send_control(Frame::Text("hello"));
    let (stream, _) = listener.accept().await.unwrap();
    let mut authorised = false;
    let mut server = accept_hdr_async(stream, |request: &server::Request, response: server::Response| {
        authorised = request.headers()["authorization"] == "Bearer sk-1" && request.uri().query() == Some("model=m");
        Ok(response)
    })
    .await
    .unwrap();
    assert!(authorised);
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Opened)));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("hello"));
    let large = "x".repeat(MAX_EVENT_BYTES);
    server.send(Message::text(large.clone())).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Text(text)) if text.as_str() == large));
    server.send(Message::text("x".repeat(MAX_EVENT_BYTES + 1))).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Oversized(bytes)) if bytes == MAX_EVENT_BYTES + 1));
    outgoing.send_audio(Frame::Binary(b"voice"));
    outgoing.send_control(Frame::Text("goodbye"));
    outgoing.close();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::binary(b"voice".to_vec()));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("goodbye"));
    assert!(
        matches!(server.next().await.unwrap().unwrap(), Message::Close(Some(frame)) if frame.code == CloseCode::Normal)
    );
    while server.next().await.is_some() {}
    assert!(next(&mut incoming).await.is_none(), "who closes is not told");
}

#[tokio::test]
async fn close_codes_are_reported() {
    let (listener, endpoint) = listener().await;
    let (_outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    let (stream, _) = listener.accept().await.unwrap();
    let mut server = tokio_tungstenite::accept_async(stream).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Opened)));
    let frame = CloseFrame { code: CloseCode::Away, reason: "60 minutes".into() };
    server.close(Some(frame)).await.unwrap();
    let Some(Arrival::Closed(closed)) = next(&mut incoming).await else { panic!("no close") };
    assert_eq!(closed, Closed::Closed { code: 1001, reason: "60 minutes".into() });
}

#[tokio::test]
async fn a_broken_connection_is_1006() {
    let (listener, endpoint) = listener().await;
    let (_outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    let (stream, _) = listener.accept().await.unwrap();
    let server = tokio_tungstenite::accept_async(stream).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Opened)));
    drop(server);
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Closed(Closed::Closed { code: 1006, .. }))));
}

#[tokio::test]
async fn a_refused_upgrade_says_status_and_body() {
    let (listener, endpoint) = listener().await;
    let (_outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 2048];
    let _ = stream.read(&mut request).await.unwrap();
    let body = r#"{"error":{"code":"invalid_api_key"}}"#;
    let answer = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    let Some(Arrival::Closed(Closed::Refused { status, body: said })) = next(&mut incoming).await else {
        panic!("not refused")
    };
    assert_eq!((status, said.as_str()), (401, body));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let (listener, endpoint) = listener().await;
    drop(listener);
    let (_outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Closed(Closed::Unreachable(_)))));
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_upgrade_is_unreachable() {
    let (listener, endpoint) = listener().await;
    let (_outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    let _stream = listener.accept().await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(CONNECT_TIMEOUT + Duration::from_secs(1)).await;
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Closed(Closed::Unreachable(_)))));
}

#[tokio::test]
async fn a_session_that_ends_while_connecting_ends_the_task() {
    let (listener, endpoint) = listener().await;
    let (outgoing, incoming) = open(target(endpoint), CallWaker::default());
    let (mut stream, _) = listener.accept().await.unwrap();
    drop((outgoing, incoming));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_session_that_sends_too_much_before_it_is_connected_is_told() {
    let (listener, endpoint) = listener().await;
    let (mut outgoing, mut incoming) = open(target(endpoint), CallWaker::default());
    let _stream = listener.accept().await.unwrap();
    (0..=crate::provider::outgoing::MAX_CONTROL).for_each(|_| outgoing.send_control(Frame::Text("hello")));
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Closed(Closed::Closed { code: 1006, .. }))));
}

/// Ids go into every piece, and into what is told of an interruption.
#[tokio::test]
async fn audio_with_endless_ids_is_dropped_and_told() {
    let (listener, endpoint) = listener().await;
    let target = Target {
        decode: |_| Decoded::Audio {
            response_id: "r".repeat(MAX_ID_BYTES),
            item_id: "i".to_owned(),
            bytes: vec![0; MAX_PIECE_BYTES * 3],
        },
        ..target(endpoint)
    };
    let (_outgoing, mut incoming) = open(target, CallWaker::default());
    let (stream, _) = listener.accept().await.unwrap();
    let mut server = tokio_tungstenite::accept_async(stream).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Opened)));
    server.send(Message::text("audio")).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Some(Arrival::Oversized(5))));
}
