//! A real server over pipes, in virtual time.

#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
    http::StatusCode,
    middleware,
    routing::{get, post},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::{Instant, timeout},
};
use tonic::service::Routes;

use super::{
    Bounds, Connection,
    body::{Late, Pace, Timely},
    server,
};

/// Longer than any bound but the age.
const LONG: Duration = Duration::from_secs(1_000);

fn bounds() -> Bounds {
    Bounds { age: 10 * LONG, ..Bounds::default() }
}

fn app() -> Router {
    let in_time = async |request: Request| {
        if request.body().is_end_stream() {
            return request;
        }
        request.map(|body| Body::new(Timely::new(body, Pace::Whole(bounds().body))))
    };
    let read = async |body: Body| match axum::body::to_bytes(body, 1 << 20).await {
        Ok(bytes) => (StatusCode::OK, bytes.len().to_string()),
        Err(error) if Late::find(&error).is_some() => (StatusCode::REQUEST_TIMEOUT, String::new()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    };
    let ticks = async || {
        let tick = |_| async {
            tokio::time::sleep(Duration::from_secs(15)).await;
            Ok::<_, Infallible>(Bytes::from_static(b"tick\n"))
        };
        Body::from_stream(stream::iter(0..).then(tick))
    };
    let flood = async || Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1_024]))));
    Router::new()
        .route("/read", post(read))
        .route("/unread", post(async || "said"))
        .route("/ticks", get(ticks))
        .route("/flood", get(flood))
        .layer(middleware::map_request(in_time))
}

/// A client's end of a connection to the server.
fn connect() -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let connection = Connection::new(theirs, "test", &bounds(), None);
    let incoming = stream::once(async { Ok::<_, Infallible>(connection) }).chain(stream::pending());
    let serve = server(&bounds(), 100).add_routes(Routes::from(app())).serve_with_incoming(incoming);
    tokio::spawn(async move { serve.await.unwrap() });
    ours
}

/// Sends `said`, then waits for the other side to close: what came, and after how many seconds.
async fn closed(said: &str) -> (String, u64) {
    let mut ours = connect();
    ours.write_all(said.as_bytes()).await.unwrap();
    let (began, mut came) = (Instant::now(), Vec::new());
    let ended = timeout(LONG, ours.read_to_end(&mut came)).await;
    ended.unwrap_or_else(|_| panic!("open after {LONG:?}: {said:?}")).unwrap();
    (String::from_utf8_lossy(&came).into_owned(), began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_say_what_it_wants_is_closed() {
    for said in ["", "P", "PRI * HTTP/2.0\r\n\r\n", "GET / HTTP"] {
        let (came, seconds) = closed(said).await;
        assert_eq!((came.as_str(), seconds), ("", 10), "{said:?}");
    }
    // From here on it is HTTP/1.1, whose heads hyper gives half a minute.
    let (_, seconds) = closed("GET /ticks HTTP/1.1\r\nhost: x\r\n").await;
    assert!((10..=40).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_ends_its_request_and_its_connection() {
    for body in ["", "some of it"] {
        let head = "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
        let (came, seconds) = closed(&format!("{head}{body}")).await;
        assert!(came.starts_with("HTTP/1.1 408"), "{came}");
        assert!((10..=40).contains(&seconds), "{seconds}");
    }
    // Whoever never looks at the body answers at once, and does not wait for the rest of it.
    let (came, seconds) = closed("POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await;
    assert!(came.starts_with("HTTP/1.1 200"), "{came}");
    assert!(seconds <= 40, "{seconds}");
    let (came, _) = closed("POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc").await;
    assert!(came.starts_with("HTTP/1.1 200") && came.ends_with('3'), "{came}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_not_in_time_either() {
    let mut ours = connect();
    ours.write_all(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
    let (mut reading, mut writing) = tokio::io::split(ours);
    let trickle = tokio::spawn(async move {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    let began = Instant::now();
    let mut came = [0; 12];
    timeout(LONG, reading.read_exact(&mut came)).await.unwrap().unwrap();
    assert_eq!((&came, began.elapsed().as_secs()), (b"HTTP/1.1 408", 10));
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_for_nothing_is_closed() {
    let (came, seconds) = closed("POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(came.ends_with("said"), "{came}");
    assert!((10..=40).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_is_not_cut() {
    let mut ours = connect();
    ours.write_all(b"GET /ticks HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let (began, mut came) = (Instant::now(), [0; 256]);
    while began.elapsed() < LONG {
        let read = timeout(Duration::from_secs(16), ours.read(&mut came)).await.expect("it goes on").unwrap();
        assert!(read > 0, "closed after {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_of_what_it_asked_for_is_closed() {
    let mut ours = connect();
    ours.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    // Slow is not stalled: the clock runs anew.
    let mut some = vec![0; 4_096];
    ours.read_exact(&mut some).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    ours.read_exact(&mut some).await.unwrap();
    tokio::time::sleep(Duration::from_secs(62)).await;
    let mut rest = Vec::new();
    timeout(LONG, ours.read_to_end(&mut rest)).await.expect("it is closed").unwrap();
    assert!(rest.len() <= 8_192, "only what was under way: {}", rest.len());
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_messages_goes_on_as_long_as_they_come() {
    use http_body::Body as _;
    let limit = Duration::from_secs(10);
    let message = |after: u64| async move {
        tokio::time::sleep(Duration::from_secs(after)).await;
        Ok::<_, Infallible>(Bytes::from_static(b"beat"))
    };
    let beats = stream::iter([9, 9, 9, 11]).then(message);
    let mut body = Box::pin(Timely::new(Body::from_stream(beats), Pace::Each(limit)));
    let mut next = async || std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    for _ in 0..3 {
        assert!(next().await.unwrap().is_ok());
    }
    let error = next().await.unwrap().unwrap_err();
    assert!(Late::find(error.as_ref()).is_some(), "{error}");
    assert!(next().await.is_none());
}
