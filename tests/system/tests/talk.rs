//! What callers say in the scenarios, and what must be true of every call that went well.

use std::time::Duration;

use voicebridge_proto::control::v1::Call;
use voicebridge_simulator::{
    ai::{AiSettings, Replies, SessionRecord},
    meta::{Action, CallRecord, CallerSettings, Step, Utterance},
    speech::{self, Recognised},
};
use voicebridge_system_tests::termination;

/// Speech that came through Opus and a packet network keeps its envelope; anything broken does not.
pub(crate) const INTACT: f32 = 0.95;

/// A person notices a pause of this length; a busy test machine stays below it.
pub(crate) const NOTICEABLE: Duration = Duration::from_millis(500);

/// The caller says this known sentence.
pub(crate) fn say(name: &str) -> Step {
    Step::Say(Utterance::new(name, &speech::fixture(name).unwrap().pcm).unwrap())
}

/// The caller listens until the AI has finished.
pub(crate) const fn heard() -> Step {
    Step::WaitHeard { quiet: Duration::from_millis(700) }
}

/// A caller with this script.
pub(crate) fn caller(script: Vec<Step>) -> CallerSettings {
    CallerSettings { script, ..CallerSettings::default() }
}

/// Listens to the greeting, asks one question, listens to the answer, hangs up.
pub(crate) fn asks_one_question() -> CallerSettings {
    caller(vec![heard(), say("opening-hours"), heard(), Step::HangUp])
}

/// Stays on the line until somebody ends the call.
pub(crate) fn stays() -> CallerSettings {
    caller(vec![Step::Listen])
}

/// Hangs up as soon as the greeting begins.
pub(crate) fn hangs_up_at_once() -> CallerSettings {
    caller(vec![Step::WaitForSpeech, Step::HangUp])
}

/// An AI whose answers fit the questions.
pub(crate) fn sensible_ai() -> AiSettings {
    AiSettings { replies: Replies::fitting(), ..AiSettings::default() }
}

fn names(found: &[Recognised]) -> Vec<&str> {
    found.iter().map(|one| one.name.as_str()).collect()
}

/// The caller heard these utterances of the AI, whole, and no other.
pub(crate) fn assert_heard(record: &CallRecord, expected: &[&str]) {
    let found = speech::recognise_all(&record.pcm_heard);
    assert_eq!(names(&found), expected, "what the caller heard");
    for one in &found {
        assert!(one.portion >= 1.0 && one.correlation >= INTACT, "{one:?}");
    }
}

/// The AI was told these utterances of the caller, whole, and no other.
pub(crate) fn assert_understood(session: &SessionRecord, expected: &[&str]) {
    let found: Vec<Recognised> = session.utterances.iter().filter_map(|one| one.recognised.clone()).collect();
    assert_eq!(names(&found), expected, "what the AI heard");
    assert_eq!(session.utterances.len(), expected.len(), "turns the AI detected");
    for one in &found {
        assert!(one.portion >= 1.0 && one.correlation >= INTACT, "{one:?}");
    }
}

/// Neither Meta nor the AI had anything to complain about.
pub(crate) fn assert_no_violations(record: &CallRecord, session: &SessionRecord) {
    assert!(record.violations.is_empty(), "Meta's rules: {:?}", record.violations);
    // The AI may finish a response while our cancel is on its way, and then says that it was too late.
    let too_late = |code: Option<&str>| code == Some("response_cancel_not_active");
    let broken: Vec<_> = session.violations.iter().filter(|one| !too_late(one.code.as_deref())).collect();
    assert!(broken.is_empty(), "the AI's rules: {broken:?}");
    assert_eq!(session.appends.before_update, 0, "audio before the session was configured");
}

/// The call ended for this reason, caused by this code of Meta's or the AI's (or none).
pub(crate) fn assert_ended(call: &Call, reason: &str, upstream_code: &str) {
    let termination = termination(call);
    assert_eq!((termination.reason.as_str(), termination.upstream_code.as_str()), (reason, upstream_code), "{call:?}");
}

/// What was asked of Graph and granted, in order.
pub(crate) fn granted(record: &CallRecord) -> Vec<Action> {
    record.graph.iter().filter(|exchange| exchange.result.is_ok()).map(|exchange| exchange.action).collect()
}

/// The rest of the first line of an SDP that begins like this.
pub(crate) fn line<'a>(sdp: &'a str, prefix: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(prefix)).unwrap_or_else(|| panic!("no {prefix} in {sdp}"))
}
