//! Configuration, item events and everything the server complains about.

use super::*;

#[test]
fn a_session_begins_with_its_defaults_and_confirms_what_it_was_told() {
    let mut client = Client::new(AiSettings::default());
    assert_eq!(client.types(), ["session.created", "conversation.created"]);
    let created = &client.events[0]["session"];
    assert_eq!((created["model"].as_str(), created["type"].as_str()), (Some("gpt-realtime-2.1"), Some("realtime")));
    assert_eq!(created["expires_at"], 1_700_003_600_u64);
    client.send(call_config());
    let updated = &client.one("session.updated")["session"];
    assert_eq!(updated["audio"]["output"]["voice"], "marin");
    assert_eq!(updated["audio"]["input"]["turn_detection"]["silence_duration_ms"], 500);
    assert_eq!(
        (updated["id"].clone(), updated["expires_at"].clone()),
        (json!(client.record.id), json!(1_700_003_600_u64))
    );
    assert_eq!(client.record.instructions, "You answer the phone of a shop.");
    assert_eq!(client.record.config, *updated);
}

#[test]
fn every_event_has_its_own_id() {
    let mut client = Client::configured(AiSettings::default());
    client.send(json!({"type": "response.create"}));
    client.pass_ms(2_000);
    let mut ids: Vec<_> = client.events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert!(count > 20 && ids.len() == count);
}

/// What the client sends, and code, parameter and event id of the error that comes back.
#[track_caller]
fn check(event: Value, expected: (Option<&str>, Option<&str>, Option<&str>)) {
    let mut client = Client::configured(AiSettings::default());
    client.send(event);
    assert_eq!(client.error(), expected);
    assert_eq!(client.ended, None, "the session survives");
    let [violation] = &client.record.violations[..] else { panic!("{:?}", client.record.violations) };
    assert_eq!((violation.code.as_deref(), violation.event_id.as_deref()), (expected.0, expected.2));
}

#[test]
fn wrong_events_are_answered_with_an_error_that_names_them() {
    check(json!({"event_id": "e1"}), (Some("missing_required_parameter"), Some("type"), Some("e1")));
    check(json!({"type": "response.begin", "event_id": "e2"}), (Some("invalid_value"), Some("type"), Some("e2")));
    check(json!({"type": "session.update"}), (Some("missing_required_parameter"), Some("session"), None));
    check(
        json!({"type": "session.update", "event_id": "e3", "session": {"type": "realtime", "colour": 1}}),
        (Some("unknown_parameter"), Some("session.colour"), Some("e3")),
    );
    check(json!({"type": "input_audio_buffer.append"}), (Some("missing_required_parameter"), Some("audio"), None));
    check(json!({"type": "input_audio_buffer.append", "audio": "?"}), (Some("invalid_value"), Some("audio"), None));
    check(json!({"type": "input_audio_buffer.append", "audio": "AAAA"}), (Some("invalid_value"), Some("audio"), None));
    check(json!({"type": "input_audio_buffer.commit"}), (Some("input_audio_buffer_commit_empty"), None, None));
    check(json!({"type": "response.cancel", "event_id": "e4"}), (Some("response_cancel_not_active"), None, Some("e4")));
    check(
        json!({"type": "response.create", "response": {"voice": "x"}}),
        (Some("unknown_parameter"), Some("response.voice"), None),
    );
    check(
        json!({"type": "response.create", "response": {"output_modalities": ["audio", "text"]}}),
        (Some("invalid_value"), Some("response.output_modalities"), None),
    );
    check(json!({"type": "conversation.item.create"}), (Some("missing_required_parameter"), Some("item"), None));
    check(
        json!({"type": "conversation.item.delete", "item_id": "item_x"}),
        (Some("item_delete_invalid_item_id"), Some("item_id"), None),
    );
    check(
        json!({"type": "conversation.item.retrieve", "item_id": "item_x"}),
        (Some("item_retrieve_invalid_item_id"), Some("item_id"), None),
    );
    check(
        json!({"type": "conversation.item.truncate", "item_id": "item_x", "content_index": 0, "audio_end_ms": 10}),
        (Some("item_truncate_invalid_item_id"), Some("item_id"), None),
    );
    check(
        json!({"type": "conversation.item.truncate", "item_id": "item_x", "content_index": 0, "audio_end_ms": -1}),
        (Some("invalid_type"), Some("audio_end_ms"), None),
    );
    check(
        json!({"type": "response.cancel", "event_id": "x".repeat(512)}),
        (Some("response_cancel_not_active"), None, Some(&"x".repeat(512))),
    );
    check(
        json!({"type": "response.cancel", "event_id": "x".repeat(513)}),
        (Some("string_above_max_length"), Some("event_id"), Some(&"x".repeat(513))),
    );
}

#[test]
fn text_that_is_no_event_is_complained_about() {
    let mut client = Client::new(AiSettings::default());
    for text in ["", "{", "[]", "\"x\"", "{\"type\": 3}"] {
        client.events.clear();
        client.session.handle(Duration::ZERO, text, &mut client.record);
        client.drain();
        assert_eq!(client.error().0, Some("invalid_json"), "{text}");
    }
}

#[test]
fn a_commit_needs_a_tenth_of_a_second() {
    let mut client = Client::configured(AiSettings::default());
    client.keep_silent(80);
    client.send(json!({"type": "input_audio_buffer.commit", "event_id": "c1"}));
    assert_eq!(client.error(), (Some("input_audio_buffer_commit_empty"), None, Some("c1")));
    assert!(client.record.violations[0].message.ends_with("buffer only has 80.00ms of audio."));
    client.keep_silent(20);
    client.send(json!({"type": "input_audio_buffer.commit"}));
    assert_eq!(client.count("input_audio_buffer.committed"), 1);
}

#[test]
fn the_beta_shape_ends_the_session() {
    let mut client = Client::new(AiSettings::default());
    client.send(json!({"type": "session.update", "session": {"type": "realtime", "voice": "alloy"}}));
    assert_eq!(client.error().0, Some("beta_api_shape_disabled"));
    let reason = "invalid_request_error.beta_api_shape_disabled".to_owned();
    assert_eq!(client.ended, Some(Output::Close { code: 4_000, reason }));
    let before = client.events.len();
    client.send(json!({"type": "response.create"}));
    client.pass_ms(10_000);
    assert_eq!(client.events.len(), before, "nothing comes after the close");
}

#[test]
fn an_oversized_append_is_refused() {
    let mut client = Client::configured(AiSettings::default());
    client.send(json!({"type": "input_audio_buffer.append", "audio": encode_audio(&vec![0; 15 * 512 * 1024 + 1])}));
    assert_eq!(client.error(), (Some("invalid_value"), Some("audio"), None));
    assert_eq!(client.record.appends.count, 0);
}

#[test]
fn items_are_created_retrieved_and_deleted() {
    let mut client = Client::configured(AiSettings::default());
    let item =
        json!({"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]});
    client.send(json!({"type": "conversation.item.create", "item": item}));
    assert_eq!(client.types(), ["conversation.item.added", "conversation.item.done"]);
    assert_eq!(client.events[0]["item"]["status"], "completed");
    client.send(json!({"type": "conversation.item.retrieve", "item_id": "mine"}));
    assert_eq!(client.one("conversation.item.retrieved")["item"]["content"][0]["text"], "hi");
    client.send(json!({"type": "conversation.item.delete", "item_id": "mine"}));
    assert_eq!(client.one("conversation.item.deleted")["item_id"], "mine");
    assert_eq!(
        (client.record.created_items.as_slice(), client.record.deletes.as_slice()),
        (&[item][..], &["mine".to_owned()][..])
    );
}

#[test]
fn the_longest_session_ends_with_its_code() {
    let mut client = Client::configured(AiSettings { max_session: Duration::from_secs(60), ..AiSettings::default() });
    client.pass(Duration::from_secs(59));
    assert_eq!(client.events, Vec::<Value>::new());
    client.pass(Duration::from_secs(1));
    assert_eq!(client.error().0, Some("session_expired"));
    assert!(matches!(client.ended, Some(Output::Close { code: 1_001, .. })));
}

#[test]
fn appends_are_counted_by_size_and_time() {
    let mut client = Client::new(AiSettings::default());
    client.keep_silent(40);
    client.send(call_config());
    client.pass_ms(100);
    client.keep_silent(60);
    let appends = &client.record.appends;
    assert_eq!((appends.count, appends.samples, appends.before_update), (5, 2_400, 2));
    assert_eq!(appends.sizes, [(960, 5)].into());
    assert_eq!(appends.longest_gap_ms, 120);
    assert_eq!(client.record.pcm.len(), 2_400);
}
