//! G.711 in place of 24 kHz PCM.

use base64_simd::STANDARD;
use voicebridge_audio::{
    g711::Law,
    resample::{Downsampler, Upsampler},
};

use super::*;
use crate::ai::settings::{Mode, UpdateFault};

const LAWS: [(Law, &str); 2] = [(Law::Mu, "audio/pcmu"), (Law::A, "audio/pcma")];

fn config(format: &str) -> Value {
    let mut config = call_config();
    for side in ["input", "output"] {
        config["session"]["audio"][side]["format"] = json!({"type": format});
    }
    config
}

fn configured(settings: AiSettings, format: &str) -> Client {
    let mut client = Client::new(settings);
    client.send(config(format));
    assert_eq!(client.one("session.updated")["session"]["audio"]["output"]["format"], json!({"type": format}));
    client.events.clear();
    client
}

fn say(client: &mut Client, law: Law, pcm: &[i16]) {
    let mut downsampler = Downsampler::default();
    for frame in pcm.chunks_exact(480) {
        let mut bytes = Vec::new();
        downsampler.push(frame, &mut |block| bytes.extend(block.map(|sample| law.encode(sample))));
        let audio = STANDARD.encode_to_string(&bytes);
        client.send(json!({"type": "input_audio_buffer.append", "audio": audio}));
        client.pass_ms(FRAME_MS);
    }
}

fn heard(client: &Client) -> Vec<u8> {
    let deltas = client.events.iter().filter(|event| event["type"] == "response.output_audio.delta");
    deltas.flat_map(|event| STANDARD.decode_to_vec(event["delta"].as_str().unwrap()).unwrap()).collect()
}

#[test]
fn a_turn_and_its_reply_in_either_law() {
    for (law, format) in LAWS {
        let mut client = configured(AiSettings::default(), format);
        say(&mut client, law, &fixture("opening-hours").unwrap().pcm);
        say(&mut client, law, &[0; 24_000]);
        let turn = &client.record.utterances[0];
        assert_eq!(turn.recognised.as_ref().unwrap().name, "opening-hours", "{law:?}");
        client.pass_ms(20_000);
        let [reply] = &client.record.replies[..] else { panic!("{:?}", client.record.replies.len()) };
        let heard = heard(&client);
        assert_eq!(heard.len(), reply.pcm.len() / 3, "{law:?}: one byte for each sample at 8 kHz");
        let (mut upsampler, mut pcm) = (Upsampler::default(), Vec::new());
        let narrow: Vec<i16> = heard.iter().map(|&byte| law.decode(byte)).collect();
        upsampler.push(&narrow, &mut |block| pcm.extend_from_slice(block));
        assert_eq!(recognise(&pcm).unwrap().name, reply.name, "{law:?}");
        assert_eq!(client.record.appends.sizes.keys().copied().collect::<Vec<_>>(), [160]);
        assert_eq!(client.record.violations, []);
    }
}

#[test]
fn what_comes_in_another_format_than_was_said_is_noise() {
    let mut client = configured(AiSettings::default(), "audio/pcmu");
    client.speak("opening-hours");
    client.keep_silent(1_000);
    let names: Vec<_> = client.record.utterances.iter().map(|turn| turn.recognised.clone()).collect();
    assert!(names.iter().all(Option::is_none), "{names:?}");
}

#[test]
fn echo_is_byte_by_byte() {
    let mut client = configured(AiSettings { mode: Mode::Echo, ..AiSettings::default() }, "audio/pcma");
    let bytes: Vec<u8> = (0..=255).chain(0..64).collect();
    for frame in bytes.chunks(160) {
        client.send(json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode_to_string(frame)}));
    }
    assert_eq!(heard(&client), bytes);
    let mut update = config("audio/pcma");
    update["session"]["audio"]["output"]["format"] = json!({"type": "audio/pcmu"});
    client.send(update);
    client.send(json!({"type": "input_audio_buffer.append", "audio": "1dXV"}));
    assert_eq!(client.error().0, Some("invalid_value"));
}

#[test]
fn formats_may_be_kept_as_a_fault() {
    let faults = Faults { update: UpdateFault::KeepsFormats, ..Faults::default() };
    let mut client = Client::new(AiSettings { faults, ..AiSettings::default() });
    client.send(config("audio/pcmu"));
    let session = &client.one("session.updated")["session"];
    assert_eq!(session["audio"]["input"]["format"]["type"], "audio/pcm");
    assert_eq!(session["audio"]["output"]["voice"], "marin", "the rest is taken");
}
