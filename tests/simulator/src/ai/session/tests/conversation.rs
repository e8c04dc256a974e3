//! Talk: turns, replies, barge-in, truncation, hang-up.

use super::*;

fn greet(client: &mut Client) {
    client.send(json!({"type": "response.create", "event_id": "rc1", "response": {"metadata": {"k": "greeting"}}}));
}

#[test]
fn a_greeting_is_the_recording_faster_than_real_time() {
    let mut client = Client::configured(AiSettings::default());
    greet(&mut client);
    let said = fixture("welcome").unwrap();
    client.pass_ms(said.duration_ms() / 8 + 150);
    assert_eq!(client.heard(), said.pcm);
    let first = [
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
    ];
    assert_eq!(client.types()[..5], first);
    let last = [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ];
    assert!(client.types().ends_with(&last), "{:?}", client.types());
    assert_eq!(client.one("response.output_audio_transcript.done")["transcript"], said.text.as_str());
    let done = &client.one("response.done")["response"];
    assert_eq!((done["status"].as_str(), &done["metadata"]["k"]), (Some("completed"), &json!("greeting")));
    assert_eq!(done["output"][0]["content"][0]["transcript"], said.text.as_str());
    let reply = &client.record.replies[0];
    assert_eq!((reply.name.as_str(), reply.status.as_str(), &reply.pcm), ("welcome", "completed", &said.pcm));
    assert!(reply.done_ms.unwrap() >= said.duration_ms() / 8 - 50, "not all at once: {reply:?}");
}

#[test]
fn deltas_do_not_end_at_frames() {
    let mut client = Client::configured(AiSettings::default());
    greet(&mut client);
    client.pass_ms(2_000);
    let deltas = client.events.iter().filter(|event| event["type"] == "response.output_audio.delta");
    let lengths: Vec<_> = deltas.map(|event| decode_audio(event["delta"].as_str().unwrap()).unwrap().len()).collect();
    assert!(lengths.len() > 10 && lengths.iter().all(|length| length % 480 != 0), "{lengths:?}");
}

#[test]
fn a_turn_is_detected_transcribed_and_answered() {
    let mut client = Client::configured(AiSettings::default());
    client.keep_silent(1_000);
    client.speak("delivery-address");
    client.keep_silent(600);
    let order = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_audio.delta",
    ];
    let places: Vec<_> = order.iter().map(|kind| client.place(kind)).collect();
    assert!(places.is_sorted(), "{:?}", client.types());
    let item_id = client.one("input_audio_buffer.speech_started")["item_id"].clone();
    for kind in ["input_audio_buffer.speech_stopped", "input_audio_buffer.committed"] {
        assert_eq!(client.one(kind)["item_id"], item_id);
    }
    let started_ms = client.one("input_audio_buffer.speech_started")["audio_start_ms"].as_u64().unwrap();
    assert!(started_ms.abs_diff(700) < 120, "{started_ms}");
    let transcription = client.one("conversation.item.input_audio_transcription.completed");
    assert_eq!(transcription["transcript"], "Eu quero mudar o endereço da minha entrega.");
    assert_eq!(
        (&transcription["languages"], &transcription["usage"]["type"]),
        (&json!([{"code": "pt"}]), &json!("tokens"))
    );
    let [utterance] = &client.record.utterances[..] else { panic!("{:?}", client.record.utterances) };
    let recognised = utterance.recognised.as_ref().unwrap();
    assert_eq!(recognised.name, "delivery-address");
    assert!(recognised.correlation > 0.99, "{recognised:?}");
}

#[test]
fn a_turn_without_transcription_or_reply_is_only_committed() {
    let mut client = Client::configured(AiSettings::default());
    client.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {
        "transcription": null,
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "create_response": false},
    }}}}));
    client.speak("invoice");
    client.keep_silent(700);
    client.pass_ms(1_000);
    assert_eq!(client.count("input_audio_buffer.committed"), 1);
    assert_eq!(client.count("conversation.item.input_audio_transcription.completed"), 0);
    assert_eq!(client.count("response.created"), 0);
    assert_eq!(client.record.utterances[0].recognised.as_ref().unwrap().name, "invoice");
}

#[test]
fn without_turn_detection_the_client_commits_and_asks() {
    let mut client = Client::configured(AiSettings { replies: crate::ai::Replies::fitting(), ..AiSettings::default() });
    let off = json!({"type": "realtime", "audio": {"input": {"turn_detection": null}}});
    client.send(json!({"type": "session.update", "session": off}));
    client.speak("opening-hours");
    client.keep_silent(700);
    assert_eq!(client.count("input_audio_buffer.speech_started"), 0);
    client.send(json!({"type": "input_audio_buffer.commit"}));
    client.send(json!({"type": "response.create"}));
    client.pass_ms(2_000);
    assert_eq!(client.record.utterances[0].recognised.as_ref().unwrap().name, "opening-hours");
    assert_eq!(client.heard(), fixture("open-from-nine").unwrap().pcm);
    client.keep_silent(200);
    client.send(json!({"type": "input_audio_buffer.clear"}));
    client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(client.count("input_audio_buffer.cleared"), 1);
    assert_eq!(client.error().0, Some("input_audio_buffer_commit_empty"));
}

#[test]
fn speaking_interrupts_the_reply() {
    let mut client = Client::configured(AiSettings { speed: 1.0, ..AiSettings::default() });
    greet(&mut client);
    client.keep_silent(1_000);
    client.speak("wait-a-moment");
    let started = client.place("input_audio_buffer.speech_started");
    let done = client.place("response.done");
    assert!(done > started);
    let done = &client.events[done]["response"];
    assert_eq!(done["status_details"], json!({"type": "cancelled", "reason": "turn_detected"}));
    assert_eq!(done["output"][0]["status"], "incomplete");
    assert_eq!(client.record.replies[0].reason, "turn_detected");
    let sent_ms = client.record.replies[0].pcm.len() / SAMPLES_PER_MS;
    assert!((1_000..1_600).contains(&sent_ms), "{sent_ms}");
    client.keep_silent(600);
    assert_eq!(client.record.replies.len(), 2, "and the interruption is answered");
}

#[test]
fn interruptions_can_be_switched_off() {
    let mut client = Client::configured(AiSettings { speed: 1.0, ..AiSettings::default() });
    client.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "interrupt_response": false},
    }}}}));
    greet(&mut client);
    client.speak("invoice");
    client.keep_silent(550);
    assert_eq!(client.record.replies[0].status, "in_progress");
    assert_eq!(
        client.error().0,
        Some("conversation_already_has_active_response"),
        "the server's own reply had no slot"
    );
    client.keep_silent(1_500);
    assert_eq!(client.record.replies[0].status, "completed");
}

#[test]
fn the_conversation_has_one_slot_and_others_run_beside_it() {
    let mut client = Client::configured(AiSettings::default());
    greet(&mut client);
    client.send(json!({"type": "response.create", "event_id": "rc2"}));
    assert_eq!(client.error(), (Some("conversation_already_has_active_response"), None, Some("rc2")));
    assert!(client.record.violations[0].message.contains(&client.record.replies[0].response_id));
    client
        .send(json!({"type": "response.create", "response": {"conversation": "none", "output_modalities": ["text"]}}));
    client.pass_ms(2_000);
    assert_eq!(client.count("response.done"), 2);
    assert_eq!(client.count("response.output_text.done"), 1);
    let added = client.events.iter().filter(|event| event["type"] == "conversation.item.added").count();
    assert_eq!(added, 1, "the other one is not in the conversation");
}

#[test]
fn a_cancelled_response_frees_the_slot_and_nothing_comes_late() {
    let mut client = Client::configured(AiSettings::default());
    greet(&mut client);
    client.pass_ms(100);
    client.send(json!({"type": "response.cancel"}));
    assert_eq!(client.one("response.done")["response"]["status_details"]["reason"], "client_cancelled");
    client.events.clear();
    client.pass_ms(2_000);
    assert_eq!(client.events, Vec::<Value>::new());
    client.send(json!({"type": "response.cancel"}));
    assert_eq!(client.error().0, Some("response_cancel_not_active"));
    assert_eq!(client.record.cancels, [Some(client.record.replies[0].response_id.clone()), None]);
    greet(&mut client);
    client.pass_ms(2_000);
    assert_eq!(client.record.replies[1].status, "completed");
}

#[test]
fn what_was_said_is_truncated_once_and_never_beyond_its_end() {
    let mut client = Client::configured(AiSettings::default());
    greet(&mut client);
    client.pass_ms(2_000);
    let item_id = client.record.replies[0].item_id.clone();
    let item_ms = fixture("welcome").unwrap().duration_ms();
    let truncate = |audio_end_ms: u64| {
        json!({
            "type": "conversation.item.truncate", "event_id": "t", "item_id": item_id, "content_index": 0,
            "audio_end_ms": audio_end_ms,
        })
    };
    client.send(truncate(item_ms + 20));
    assert_eq!(client.error(), (None, None, Some("t")));
    assert_eq!(
        client.record.violations[0].message,
        format!("Audio content of {item_ms}ms is already shorter than {}ms", item_ms + 20)
    );
    client.events.clear();
    client.send(truncate(0));
    assert_eq!(client.error().0, Some("unsupported_content_type"));
    client.send(truncate(1_500));
    assert_eq!(client.one("conversation.item.truncated")["audio_end_ms"], 1_500);
    let granted = crate::ai::Truncation { item_id: item_id.clone(), audio_end_ms: 1_500, item_ms };
    assert_eq!(client.record.truncates, [granted]);
}

#[test]
fn a_goodbye_gets_a_farewell_and_a_hang_up() {
    let mut client = Client::configured(AiSettings::default());
    client.speak("goodbye-es");
    client.keep_silent(700);
    client.pass_ms(1_000);
    assert_eq!(client.heard(), fixture("farewell-es").unwrap().pcm);
    let call = client.one("response.function_call_arguments.done");
    assert_eq!((call["name"].as_str(), call["arguments"].as_str()), (Some("end_call"), Some("{}")));
    let done = &client.one("response.done")["response"];
    assert_eq!(done["output"][1]["type"], "function_call");
    assert_eq!(client.record.replies[0].tool.as_deref(), Some("end_call"));
    let call_id = call["call_id"].clone();
    let output = json!({"type": "function_call_output", "call_id": call_id, "output": "ok"});
    client.send(json!({"type": "conversation.item.create", "item": output}));
    assert_eq!(client.count("error"), 0);
}

#[test]
fn an_interrupted_farewell_does_not_hang_up() {
    let mut client = Client::configured(AiSettings { speed: 1.0, ..AiSettings::default() });
    client.speak("goodbye-de");
    client.keep_silent(800);
    client.speak("invoice");
    assert_eq!(client.record.replies[0].status, "cancelled");
    assert_eq!(client.count("response.function_call_arguments.done"), 0);
}

#[test]
fn sessions_say_different_things_and_the_same_again() {
    let names = |index: usize| {
        let mut client = Client::with_index(AiSettings::default(), index);
        for _ in 0..3 {
            client.send(json!({"type": "response.create"}));
            client.pass_ms(3_000);
        }
        client.record.replies.iter().map(|reply| reply.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(0), names(0));
    assert_ne!(names(0)[1..], names(1)[1..]);
    assert_ne!(names(1)[1], names(2)[1]);
}

#[test]
fn usage_counts_what_was_heard_and_said() {
    let mut client = Client::configured(AiSettings::default());
    client.speak("payment");
    client.keep_silent(700);
    client.pass_ms(2_000);
    let usage = client.one("response.done")["response"]["usage"].clone();
    let utterance = &client.record.utterances[0];
    let heard_ms = utterance.end_ms - utterance.start_ms;
    let said_ms = (client.record.replies[0].pcm.len() / SAMPLES_PER_MS) as u64;
    assert_eq!(usage["input_token_details"]["audio_tokens"], heard_ms.div_ceil(100));
    assert_eq!(usage["output_token_details"]["audio_tokens"], said_ms.div_ceil(50));
    assert_eq!(usage["input_token_details"]["cached_tokens"], 0);
    let sum = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    for _ in 0..2 {
        client.events.clear();
        client.speak("payment");
        client.keep_silent(700);
        client.pass_ms(2_000);
    }
    let again = &client.one("response.done")["response"]["usage"];
    assert!(again["input_tokens"].as_u64() > usage["input_tokens"].as_u64());
    assert!(again["input_token_details"]["cached_tokens"].as_u64() >= Some(64), "{again}");
}

#[test]
fn nobody_answering_is_noticed_when_asked_for() {
    let mut client = Client::configured(AiSettings::default());
    client.send(json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500, "idle_timeout_ms": 5_000},
    }}}}));
    greet(&mut client);
    client.keep_silent(5_000);
    assert_eq!(client.count("input_audio_buffer.timeout_triggered"), 0);
    client.keep_silent(4_500);
    assert_eq!(client.count("input_audio_buffer.timeout_triggered"), 1);
    assert_eq!(client.record.replies.len(), 2);
}
