//! Echo mode.

use super::*;
use crate::ai::settings::Mode;

fn echo() -> Client {
    Client::configured(AiSettings { mode: Mode::Echo, response_delay: Duration::from_secs(1), ..AiSettings::default() })
}

#[test]
fn each_chunk_comes_back_at_once_in_one_response() {
    let mut client = echo();
    let pcm = fixture("shop-location").unwrap().pcm.clone();
    for (index, frame) in pcm.chunks(480).enumerate() {
        client.send(json!({"type": "input_audio_buffer.append", "audio": encode_audio(frame)}));
        assert_eq!(client.count("response.output_audio.delta"), index + 1, "without any time passing");
    }
    assert_eq!(client.heard(), pcm);
    assert_eq!(client.record.pcm, pcm);
    assert_eq!((client.count("response.created"), client.count("input_audio_buffer.speech_started")), (1, 0));
    let [reply] = &client.record.replies[..] else { panic!("{:?}", client.record.replies.len()) };
    assert_eq!((reply.name.as_str(), &reply.pcm), ("echo", &pcm));
}

#[test]
fn a_greeting_asked_for_is_the_same_response() {
    let mut client = echo();
    client.send(json!({"type": "response.create"}));
    assert_eq!(client.count("response.created"), 1);
    client.keep_silent(100);
    assert_eq!((client.count("response.created"), client.count("response.output_audio.delta")), (1, 5));
    client.send(json!({"type": "response.create"}));
    assert_eq!(client.error().0, Some("conversation_already_has_active_response"));
    client.send(json!({"type": "response.cancel"}));
    assert_eq!(client.count("response.done"), 1);
    client.keep_silent(20);
    assert_eq!(client.count("response.created"), 2);
}
