//! Stored events of before: what they said in words is an enum of the contract by now. Filled in when they are read; the
//! bytes in the store stay as they are.

use prost::Message;
use voicebridge_proto::types::v1::{Event, GraphAction, ResponseStatus, event::Kind};

/// The fields of `Event` whose meaning moved, under the numbers they had. In the contract these are reserved.
#[derive(Message)]
struct OlderEvent {
    #[prost(message, optional, tag = "29")]
    response_finished: Option<OlderResponseFinished>,
    #[prost(message, optional, tag = "35")]
    graph_answered: Option<OlderGraphAnswered>,
}

#[derive(Message)]
struct OlderResponseFinished {
    #[prost(string, tag = "2")]
    status: String,
}

#[derive(Message)]
struct OlderGraphAnswered {
    #[prost(string, tag = "1")]
    action: String,
}

/// Fills in what an event of before said in another way. One that was written since stays as it is.
///
/// # Errors
/// The bytes are no event.
pub(super) fn complete(event: &mut Event, payload: &[u8]) -> Result<(), prost::DecodeError> {
    match &mut event.kind {
        Some(Kind::ResponseFinished(finished)) if finished.status() == ResponseStatus::Unspecified => {
            let older = OlderEvent::decode(payload)?.response_finished.unwrap_or_default();
            finished.set_status(response_status(&older.status));
        }
        Some(Kind::GraphAnswered(answered)) if answered.action() == GraphAction::Unspecified => {
            let older = OlderEvent::decode(payload)?.graph_answered.unwrap_or_default();
            answered.set_action(graph_action(&older.action));
        }
        _ => {}
    }
    Ok(())
}

fn response_status(word: &str) -> ResponseStatus {
    match word {
        "completed" => ResponseStatus::Completed,
        "cancelled" => ResponseStatus::Cancelled,
        "incomplete" => ResponseStatus::Incomplete,
        "failed" => ResponseStatus::Failed,
        _ => ResponseStatus::Unspecified,
    }
}

fn graph_action(word: &str) -> GraphAction {
    match word {
        "pre_accept" => GraphAction::PreAccept,
        "accept" => GraphAction::Accept,
        "reject" => GraphAction::Reject,
        "terminate" => GraphAction::Terminate,
        _ => GraphAction::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_proto::types::v1::{GraphAnswered, ResponseFinished};

    use super::*;

    /// A field with a length: its number and its content.
    fn field(number: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend(content);
        bytes
    }

    fn read(payload: &[u8]) -> Option<Kind> {
        let mut event = Event::decode(payload).unwrap();
        complete(&mut event, payload).unwrap();
        event.kind
    }

    #[test]
    fn words_of_stored_events_are_read_as_what_they_mean() {
        for (word, action) in [
            ("pre_accept", GraphAction::PreAccept),
            ("accept", GraphAction::Accept),
            ("reject", GraphAction::Reject),
            ("terminate", GraphAction::Terminate),
            ("", GraphAction::Unspecified),
        ] {
            // `action` as it was, and `status` 200.
            let answered = [field(1, word.as_bytes()), vec![0x10, 0xc8, 0x01]].concat();
            let expect = GraphAnswered { action: action.into(), status: 200, ..Default::default() };
            assert_eq!(read(&field(35, &answered)), Some(Kind::GraphAnswered(expect)), "{word}");
        }
        for (word, status) in [
            ("completed", ResponseStatus::Completed),
            ("cancelled", ResponseStatus::Cancelled),
            ("incomplete", ResponseStatus::Incomplete),
            ("failed", ResponseStatus::Failed),
            ("a word of a provider's", ResponseStatus::Unspecified),
        ] {
            let finished = [field(1, b"R1"), field(2, word.as_bytes()), field(3, b"turn_detected")].concat();
            let expect = ResponseFinished {
                response_id: "R1".to_owned(),
                status: status.into(),
                status_reason: "turn_detected".to_owned(),
                usage: None,
            };
            assert_eq!(read(&field(29, &finished)), Some(Kind::ResponseFinished(expect)), "{word}");
        }
    }

    #[test]
    fn events_of_now_stay_as_they_are() {
        let answered = GraphAnswered { action: GraphAction::Reject.into(), ..Default::default() };
        let event = Event { kind: Some(Kind::GraphAnswered(answered)), ..Default::default() };
        assert_eq!(read(&event.encode_to_vec()), event.kind);
        let finished = ResponseFinished { status: ResponseStatus::Failed.into(), ..Default::default() };
        let event = Event { kind: Some(Kind::ResponseFinished(finished)), ..Default::default() };
        assert_eq!(read(&event.encode_to_vec()), event.kind);
    }
}
