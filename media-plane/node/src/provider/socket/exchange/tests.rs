//! Over a stream in memory, in paused time.

#![allow(clippy::unwrap_used)]

use tokio::{io::DuplexStream, task::JoinHandle};
use tokio_tungstenite::{accept_async, client_async_with_config};
use voicebridge_session::{
    Frame, Watch,
    provider::{Decode, Decoded},
};

use super::*;
use crate::{
    provider::{
        incoming::{Incoming, MAX_BYTES, incoming},
        outgoing::{Outgoing, outgoing},
        socket::settings,
    },
    waker::CallWaker,
};

/// What the stream holds each way.
const STREAM_BYTES: usize = 64 * 1024;
const PING: PingPolicy = PingPolicy {
    every: Duration::from_secs(8),
    dead_after: Duration::from_secs(18),
    waiting_every: Duration::from_millis(1_500),
    waiting_dead_after: Duration::from_millis(4_500),
};

struct Bench {
    outgoing: Outgoing,
    incoming: Incoming,
    server: WebSocketStream<DuplexStream>,
    task: JoinHandle<Option<Closed>>,
    began: Instant,
}

async fn open(ping: Option<PingPolicy>) -> Bench {
    open_with(ping, |_| Decoded::Other).await
}

async fn open_with(ping: Option<PingPolicy>, decode: Decode) -> Bench {
    let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
    let (client, server) =
        tokio::join!(client_async_with_config("ws://localhost/", ours, Some(settings())), accept_async(theirs));
    let (outgoing, mut receiver) = outgoing();
    let (queue, incoming) = incoming();
    let mut arrivals = Arrivals { queue, decode, waker: CallWaker::default() };
    let socket = client.unwrap().0;
    let task = tokio::spawn(async move { Exchange::new(socket, ping, &mut receiver, &mut arrivals).run().await });
    Bench { outgoing, incoming, server: server.unwrap(), task, began: Instant::now() }
}

impl Bench {
    /// How it ended, and when.
    async fn end(self) -> (Closed, Duration) {
        let closed = self.task.await.unwrap().expect("not by us");
        (closed, self.began.elapsed())
    }
}

fn within(took: Duration, least: u64, most: u64) {
    let took = took.as_millis() as u64;
    assert!((least..=most).contains(&took), "after {took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_dead_socket_is_noticed_within_5_s_while_the_caller_waits() {
    let bench = open(Some(PING)).await;
    bench.outgoing.watch(Watch::TurnWaiting);
    let (closed, took) = bench.end().await;
    within(took, 4_000, 5_000);
    assert!(matches!(closed, Closed::Closed { code: 1006, reason } if reason.contains("pings")));
}

#[tokio::test(start_paused = true)]
async fn else_within_20_s() {
    let bench = open(Some(PING)).await;
    within(bench.end().await.1, 17_000, 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_dead_socket_that_takes_nothing_is_noticed_as_soon() {
    let mut bench = open(Some(PING)).await;
    bench.outgoing.send_control(Frame::Text(&"x".repeat(STREAM_BYTES * 2)));
    bench.outgoing.watch(Watch::TurnWaiting);
    within(bench.end().await.1, 4_000, 5_000);
}

#[tokio::test(start_paused = true)]
async fn without_a_policy_no_ping_is_ever_sent() {
    let mut bench = open(None).await;
    bench.outgoing.watch(Watch::TurnWaiting);
    let came = timeout(Duration::from_secs(600), bench.server.next()).await;
    assert!(came.is_err(), "{came:?}");
    assert!(!bench.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_answers_pings_lives() {
    let mut bench = open(Some(PING)).await;
    bench.outgoing.watch(Watch::TurnWaiting);
    let mut pings = 0;
    let listening = async {
        while let Some(Ok(Message::Ping(_))) = bench.server.next().await {
            pings += 1;
        }
    };
    assert!(timeout(Duration::from_secs(60), listening).await.is_err(), "still open");
    assert_eq!(pings, 40, "one at once, then every 1.5 s");
}

#[tokio::test(start_paused = true)]
async fn what_comes_is_read_while_a_message_is_stuck() {
    let mut bench = open(None).await;
    bench.outgoing.send_control(Frame::Text(&"x".repeat(STREAM_BYTES * 2)));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let (mut sends, _takes_nothing) = bench.server.split();
    sends.send(Message::text("hello")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(matches!(bench.incoming.take(), Some(Arrival::Text(text)) if text.as_str() == "hello"));
    assert!(!bench.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stays_stuck_means_a_broken_socket() {
    let mut bench = open(None).await;
    bench.outgoing.send_control(Frame::Text(&"x".repeat(STREAM_BYTES * 2)));
    within(bench.end().await.1, 10_000, 10_100);
}

#[tokio::test(start_paused = true)]
async fn a_flood_waits_in_the_network_and_not_here() {
    let mut bench = open(Some(PING)).await;
    let piece = Message::text("x".repeat(MAX_BYTES / 4));
    let mut sent = 0;
    while timeout(Duration::from_secs(30), bench.server.send(piece.clone())).await.is_ok() {
        sent += 1;
    }
    // Four wait, one is held until there is room, and one is in the stream.
    assert_eq!(sent, 5);
    assert!(!bench.task.is_finished(), "we are slow, the server is not dead");
    let mut taken = 0;
    while let Ok(arrival) = timeout(Duration::from_secs(1), async {
        loop {
            match bench.incoming.take() {
                Some(arrival) => return arrival,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
    {
        assert_eq!(arrival.size(), MAX_BYTES / 4);
        taken += 1;
        if taken == 5 {
            bench.server.flush().await.unwrap();
        }
    }
    assert_eq!(taken, 6);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_waits_for_us_is_not_blamed_for_what_it_does_not_take() {
    let mut bench = open(Some(PING)).await;
    let piece = Message::text("x".repeat(MAX_BYTES / 4));
    let server = tokio::spawn(async move {
        // Takes nothing until all of it is sent.
        for _ in 0..12 {
            bench.server.send(piece.clone()).await.unwrap();
        }
        let message = bench.server.next().await;
        (message, bench.server)
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    bench.outgoing.send_control(Frame::Text(&"y".repeat(STREAM_BYTES * 2)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!bench.task.is_finished(), "stuck on both sides, because of us");
    for _ in 0..12 {
        assert_eq!(bench.incoming.take().unwrap().size(), MAX_BYTES / 4);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (message, _server) = server.await.unwrap();
    assert_eq!(message.unwrap().unwrap().len(), STREAM_BYTES * 2);
    assert!(!bench.task.is_finished());
}

/// However much a provider sends in one message, the session's thread takes it in pieces, and in order.
#[tokio::test(start_paused = true)]
async fn long_audio_comes_in_pieces_and_waits_for_room() {
    const LENGTH: usize = MAX_BYTES * 3 + 5;
    let voice = |index: usize| (index % 251) as u8;
    let mut bench = open_with(Some(PING), |frame| match frame {
        Frame::Binary(bytes) => {
            Decoded::Audio { response_id: "r".to_owned(), item_id: "i".to_owned(), bytes: bytes.to_vec() }
        }
        Frame::Text(_) => Decoded::Other,
    })
    .await;
    let server = tokio::spawn(async move {
        bench.server.send(Message::binary((0..LENGTH).map(voice).collect::<Vec<_>>())).await.unwrap();
        bench.server.send(Message::text("after it")).await.unwrap();
        bench.server
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut taken = 0;
    loop {
        match bench.incoming.take() {
            Some(Arrival::Audio { response_id, item_id, bytes }) => {
                assert_eq!((response_id.as_str(), item_id.as_str()), ("r", "i"));
                assert!(bytes.len() <= MAX_PIECE_BYTES, "{}", bytes.len());
                for byte in bytes {
                    assert_eq!(byte, voice(taken));
                    taken += 1;
                }
            }
            Some(Arrival::Text(text)) => {
                assert_eq!((text.as_str(), taken), ("after it", LENGTH));
                break;
            }
            Some(other) => panic!("{other:?}"),
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    let _server = server.await.unwrap();
    assert!(!bench.task.is_finished(), "we were slow, the server is not dead");
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_long_audio_is_dropped_with_the_session() {
    let mut bench = open_with(Some(PING), |_| Decoded::Audio {
        response_id: String::new(),
        item_id: String::new(),
        bytes: vec![0; MAX_BYTES * 2],
    })
    .await;
    bench.server.send(Message::text("a lot")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop((bench.outgoing, bench.incoming));
    while bench.server.next().await.is_some_and(|message| message.is_ok()) {}
    assert_eq!(bench.task.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_says_goodbye_though_it_takes_nothing() {
    let mut bench = open(Some(PING)).await;
    let (outgoing, incoming) = (bench.outgoing, bench.incoming);
    drop((outgoing, incoming));
    assert!(
        matches!(bench.server.next().await, Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Normal)
    );
    while bench.server.next().await.is_some() {}
    assert_eq!(bench.task.await.unwrap(), None);
}
