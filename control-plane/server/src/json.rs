//! Messages of the contract as JSON, in protobuf's own mapping (lowerCamelCase, enum names), numbers as numbers.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use voicebridge_proto::{FILE_DESCRIPTOR_SET, control, types};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptors were compiled with the code"));

/// A message with a name in the descriptors.
pub trait Named: Message {
    /// With its package.
    const NAME: &'static str;
}

impl Named for control::v1::Call {
    const NAME: &'static str = "voicebridge.control.v1.Call";
}

impl Named for types::v1::Event {
    const NAME: &'static str = "voicebridge.types.v1.Event";
}

impl Named for types::v1::Transcript {
    const NAME: &'static str = "voicebridge.types.v1.Transcript";
}

impl Named for control::v1::Key {
    const NAME: &'static str = "voicebridge.control.v1.Key";
}

impl Named for control::v1::CreateKeyResponse {
    const NAME: &'static str = "voicebridge.control.v1.CreateKeyResponse";
}

impl Named for control::v1::CreateReadTokenResponse {
    const NAME: &'static str = "voicebridge.control.v1.CreateReadTokenResponse";
}

impl Named for control::v1::GetServerInfoResponse {
    const NAME: &'static str = "voicebridge.control.v1.GetServerInfoResponse";
}

impl Named for control::v1::Node {
    const NAME: &'static str = "voicebridge.control.v1.Node";
}

/// The message as one line of JSON.
pub fn line<M: Named>(message: &M) -> String {
    value(message).to_string()
}

/// The message as a JSON value. Fields at their default are left out, as protobuf does.
///
/// # Panics
/// The descriptors were compiled with the types; that they do not fit is a bug of the build.
pub fn value<M: Named>(message: &M) -> serde_json::Value {
    let descriptor = POOL.get_message_by_name(M::NAME).expect("the name is one of the contract's");
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .expect("what was just encoded decodes by the same descriptor");
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).expect("a message is a map of plain values")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use voicebridge_proto::{
        control::v1::{Call, CallPhase},
        types::v1::{Event, StageReached, event::Kind},
    };

    use super::*;

    #[test]
    fn names_are_protobufs_and_numbers_are_numbers() {
        let call = Call {
            call_id: "wacid.X".into(),
            phase: CallPhase::Active.into(),
            last_sequence: 7,
            received_at: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
            ..Call::default()
        };
        let expect = json!({"callId": "wacid.X", "phase": "CALL_PHASE_ACTIVE", "lastSequence": 7,
            "receivedAt": "2026-09-21T14:13:20Z"});
        assert_eq!(value(&call), expect);
        let event = Event { kind: Some(Kind::StageReached(StageReached { stage: 6 })), ..Event::default() };
        assert_eq!(line(&event), r#"{"stageReached":{"stage":"STAGE_MEDIA_BRIDGE_ACTIVE"}}"#);
    }
}
