//! The queue to a socket at its bounds: what is dropped, what ends it, who is woken.

use tokio_tungstenite::tungstenite::Message;

use super::*;

fn audio(index: usize) -> String {
    format!("audio {index}")
}

fn control(outgoing: &mut Outgoing, text: &str) {
    outgoing.send_control(Frame::Text(text));
}

fn sent(text: impl Into<String>) -> SocketOrder {
    SocketOrder::Send(Message::text(text.into()))
}

#[tokio::test]
async fn the_oldest_audio_is_dropped_and_control_never() {
    let (mut outgoing, mut receiver) = outgoing();
    control(&mut outgoing, "first");
    (0..MAX_AUDIO + 3).for_each(|index| outgoing.send_audio(Frame::Text(&audio(index))));
    control(&mut outgoing, "last");
    outgoing.close();
    control(&mut outgoing, "too late");
    assert_eq!(receiver.next().await, sent("first"));
    assert_eq!(outgoing.dropped(), 3);
    for index in 3..MAX_AUDIO + 3 {
        assert_eq!(receiver.next().await, sent(audio(index)));
    }
    assert_eq!(receiver.next().await, sent("last"));
    assert_eq!(receiver.next().await, SocketOrder::Close);
}

#[tokio::test]
async fn a_task_that_does_not_get_to_run_costs_the_newest_audio() {
    let (mut outgoing, mut receiver) = outgoing();
    (0..MAX_AUDIO + MAX_CONTROL + 2).for_each(|index| outgoing.send_audio(Frame::Text(&audio(index))));
    assert_eq!(outgoing.dropped(), 2, "what the ring does not hold");
    assert_eq!(receiver.next().await, sent(audio(MAX_CONTROL)), "the last 5 s of the rest are sent");
    assert_eq!(outgoing.dropped() as usize, 2 + MAX_CONTROL);
}

#[tokio::test]
async fn control_messages_that_pile_up_mean_a_broken_socket() {
    let (mut outgoing, mut receiver) = outgoing();
    (0..MAX_CONTROL).for_each(|index| control(&mut outgoing, &index.to_string()));
    assert_eq!(receiver.next().await, sent("0"));
    control(&mut outgoing, "one was sent");
    assert_eq!(receiver.next().await, sent("1"));
    (0..2).for_each(|_| control(&mut outgoing, "too many"));
    assert_eq!(receiver.next().await, SocketOrder::Stuck);
}

#[tokio::test]
async fn so_do_their_bytes_though_a_single_large_one_is_sent() {
    let (mut outgoing, mut receiver) = outgoing();
    let large = "x".repeat(MAX_CONTROL_BYTES + 1);
    control(&mut outgoing, &large);
    assert_eq!(receiver.next().await, sent(large.as_str()));
    let half = "x".repeat(MAX_CONTROL_BYTES / 2);
    (0..2).for_each(|_| control(&mut outgoing, &half));
    assert_eq!(receiver.next().await, sent(half.as_str()));
    control(&mut outgoing, &half);
    assert_eq!(receiver.next().await, sent(half.as_str()));
    control(&mut outgoing, &half);
    control(&mut outgoing, "x");
    assert_eq!(receiver.next().await, SocketOrder::Stuck);
}

#[tokio::test]
async fn a_waiting_socket_is_woken() {
    let (mut outgoing, mut receiver) = outgoing();
    let waiting = tokio::spawn(async move { (receiver.next().await, receiver.next().await, receiver.next().await) });
    tokio::task::yield_now().await;
    control(&mut outgoing, "hello");
    tokio::task::yield_now().await;
    outgoing.watch(Watch::TurnWaiting);
    tokio::task::yield_now().await;
    drop(outgoing);
    assert_eq!(waiting.await.ok(), Some((sent("hello"), SocketOrder::Watch(Watch::TurnWaiting), SocketOrder::Gone)));
}

#[tokio::test]
async fn a_socket_that_cannot_send_hears_of_all_but_messages() {
    let (mut outgoing, mut receiver) = outgoing();
    control(&mut outgoing, "hello");
    outgoing.watch(Watch::TurnWaiting);
    assert_eq!(receiver.next_urgent().await, SocketOrder::Watch(Watch::TurnWaiting));
    outgoing.close();
    assert!(futures_util::FutureExt::now_or_never(receiver.next_urgent()).is_none());
    assert_eq!(receiver.next().await, sent("hello"));
    assert_eq!(receiver.next().await, SocketOrder::Close);
}

#[tokio::test]
async fn twenty_milliseconds_of_the_caller_cost_the_sessions_thread_no_allocation() {
    let (mut outgoing, mut receiver) = outgoing();
    let append = format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, "A".repeat(1_280));
    let mut allocations = 0;
    for frame in 0..200 {
        // As on the media thread: the first messages make room, all others find it.
        let counted = allocation_counter::measure(|| outgoing.send_audio(Frame::Text(&append)));
        allocations += if frame < 50 { 0 } else { counted.count_total };
        assert_eq!(receiver.next().await, sent(append.as_str()));
    }
    assert_eq!(allocations, 0);
}
