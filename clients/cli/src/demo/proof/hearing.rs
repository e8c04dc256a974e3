//! Whether both sides heard each other: the recordings at both ends against what was said, by recognition.

use voicebridge_proto::types::v1::Speaker;
use voicebridge_simulator::{
    ai::{ReplyRecord, SessionRecord, Truncation},
    speech::{Fixture, Recognised, Role, SAMPLE_RATE_HZ, fixture, recognise_all, recognise_among},
};

use super::{CORRELATION, Finding};
use crate::demo::{cast::Plot, evidence::Evidence};

const SAMPLES_PER_MS: usize = SAMPLE_RATE_HZ as usize / 1_000;
/// After a cut: the fade-out, and the codec's look-ahead at both ends. From here on there must be silence.
const CUT_SETTLES_MS: usize = 60;
/// How much of the silence after a cut is looked at. The caller's interruption lasts longer, so no reply can begin in it.
const QUIET_MS: usize = 300;
/// Louder than this is speech; the recordings are at -20 dBFS.
const QUIET_DBFS: f64 = -45.0;
/// Beginnings are recognised too; what was said to its end must be heard to its end.
const WHOLE: f32 = 1.0;
/// The ledger counts samples, the provider milliseconds.
const LEDGER_TOLERANCE_MS: u64 = 1;

pub(super) fn examine(evidence: &Evidence, session: &SessionRecord) -> Vec<Finding> {
    let mut findings = vec![complaints(session), ai_heard(evidence, session), caller_heard(evidence, session)];
    if evidence.caller.plot == Plot::BargeIn {
        findings.push(barge_in(evidence, session));
    }
    findings.push(transcripts(evidence, session));
    findings
}

fn complaints(session: &SessionRecord) -> Finding {
    let amiss = session.violations.iter().map(|violation| violation.message.clone()).collect();
    let fine = format!(
        "{} messages with the caller's audio, {} s",
        session.appends.count,
        session.pcm.len() / SAMPLE_RATE_HZ as usize
    );
    Finding::unless("the AI had nothing to complain about", amiss, fine)
}

/// Every utterance of the caller, in order, in what reached the AI, found among all recordings.
fn ai_heard(evidence: &Evidence, session: &SessionRecord) -> Finding {
    let said: Vec<&str> = evidence.record.spoken.iter().map(|spoken| spoken.utterance.name()).collect();
    let wanted: Vec<&str> = evidence.caller.says.iter().map(String::as_str).collect();
    if said != wanted {
        let amiss = format!("the caller only came to say {said:?} of {wanted:?}; {:?}", evidence.record.ended_by);
        return Finding::new("the AI heard the caller's words", false, amiss);
    }
    let found = recognise_all(&session.pcm);
    let matched = match_in_order(&wanted, &found);
    Finding::new("the AI heard the caller's words", matched.is_ok(), words(matched))
}

/// Every whole reply of the AI, in order, in what reached the caller.
fn caller_heard(evidence: &Evidence, session: &SessionRecord) -> Finding {
    const CLAIM: &str = "the caller heard the AI's words";
    let whole: Vec<&str> = spoken_replies(session)
        .filter(|reply| cut_of(session, reply).is_none())
        .map(|reply| reply.name.as_str())
        .collect();
    if whole.is_empty() {
        return Finding::new(CLAIM, false, "the AI never finished a reply");
    }
    let matched = match_in_order(&whole, &recognise_all(&evidence.record.pcm_heard));
    Finding::new(CLAIM, matched.is_ok(), words(matched))
}

/// The reply that was cut: heard up to the ledger's millisecond, silent after it, and the AI told the same.
fn barge_in(evidence: &Evidence, session: &SessionRecord) -> Finding {
    const CLAIM: &str = "the interrupted reply stopped where the AI was told";
    let cut = spoken_replies(session).find_map(|reply| Some((reply, cut_of(session, reply)?)));
    let Some((reply, truncation)) = cut else {
        return Finding::new(CLAIM, false, "the AI was told of no truncation");
    };
    let told_ms = truncation.audio_end_ms;
    let mut amiss = Vec::new();
    match evidence.barge_ins().find(|cut| cut.item_id == reply.item_id) {
        Some(ledger) if ledger.heard_ms.abs_diff(told_ms) > LEDGER_TOLERANCE_MS => {
            amiss.push(format!("the ledger says {} ms, the AI was told {told_ms} ms", ledger.heard_ms));
        }
        Some(_) => {}
        None => amiss.push("no event of it".to_owned()),
    }
    let end = (told_ms as usize * SAMPLES_PER_MS).min(reply.pcm.len());
    let piece = Fixture::new(&reply.name, "", Role::Agent, "", reply.pcm[..end].to_vec());
    let heard = &evidence.record.pcm_heard;
    let mut correlation = 0.0;
    match recognise_among(heard, std::slice::from_ref(&piece)) {
        Some(found) => {
            correlation = found.correlation;
            if correlation < CORRELATION {
                amiss.push(format!("what was heard of {} correlates only {correlation:.3}", reply.name));
            }
            let after = usize::try_from(found.end_ms).unwrap_or(0) + CUT_SETTLES_MS;
            let level = level_dbfs(heard, after, QUIET_MS);
            if level > QUIET_DBFS {
                amiss.push(format!("{level:.0} dBFS were heard after the cut"));
            }
        }
        None => amiss.push(format!("nothing was heard of {}", reply.name)),
    }
    let fine = format!(
        "{} heard for {told_ms} ms of {} ms, alike {correlation:.3} of 1, then silence",
        reply.name, truncation.item_ms
    );
    Finding::unless(CLAIM, amiss, fine)
}

/// What was said stands in the record of the call, in order, the interrupted reply marked.
fn transcripts(evidence: &Evidence, session: &SessionRecord) -> Finding {
    let mut amiss = Vec::new();
    let stored = |speaker: Speaker| evidence.transcripts.iter().filter(move |entry| entry.speaker() == speaker);
    for name in &evidence.caller.says {
        let text = fixture(name).map_or("", |fixture| fixture.text.as_str());
        if !stored(Speaker::Caller).any(|entry| entry.text == text) {
            amiss.push(format!("{text:?} of the caller is missing"));
        }
    }
    for reply in spoken_replies(session) {
        let cut = cut_of(session, reply).is_some();
        let matches =
            |text: &str| if cut { reply.transcript.starts_with(text.trim_end()) } else { text == reply.transcript };
        if !stored(Speaker::Agent).any(|entry| entry.interrupted == cut && matches(&entry.text)) {
            amiss.push(format!("{:?} of the AI is missing", reply.transcript));
        }
    }
    let fine = format!("{} lines", evidence.transcripts.len());
    Finding::unless("the record of the call tells what was said", amiss, fine)
}

/// Replies of which anything can have been heard.
fn spoken_replies(session: &SessionRecord) -> impl Iterator<Item = &ReplyRecord> {
    session.replies.iter().filter(|reply| !reply.pcm.is_empty() && !session.deletes.contains(&reply.item_id))
}

fn cut_of<'a>(session: &'a SessionRecord, reply: &ReplyRecord) -> Option<&'a Truncation> {
    session.truncates.iter().find(|truncation| truncation.item_id == reply.item_id)
}

/// Finds each name in turn. Ok: names with their correlations; Err: the first that is not there.
fn match_in_order<'a>(wanted: &[&'a str], found: &[Recognised]) -> Result<Vec<(&'a str, f32)>, String> {
    let mut rest = found.iter();
    wanted
        .iter()
        .map(|name| {
            rest.find(|found| found.name == *name && found.portion == WHOLE && found.correlation >= CORRELATION)
                .map(|found| (*name, found.correlation))
                .ok_or_else(|| {
                    let heard: Vec<String> =
                        found.iter().map(|found| format!("{} {:.3}", found.name, found.correlation)).collect();
                    format!("{name} is not among what was heard: [{}]", heard.join(", "))
                })
        })
        .collect()
}

fn words(matched: Result<Vec<(&str, f32)>, String>) -> String {
    match matched {
        Ok(found) => {
            let found: Vec<String> = found.iter().map(|(name, alike)| format!("{name} {alike:.3}")).collect();
            format!("{} (alike: 1 is the recording itself, {CORRELATION} is enough)", found.join(", "))
        }
        Err(missing) => missing,
    }
}

/// RMS level of `length_ms` from `from_ms`; of what there is of it.
fn level_dbfs(pcm: &[i16], from_ms: usize, length_ms: usize) -> f64 {
    let from = (from_ms * SAMPLES_PER_MS).min(pcm.len());
    let window = &pcm[from..(from + length_ms * SAMPLES_PER_MS).min(pcm.len())];
    let power = window.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / window.len().max(1) as f64;
    10.0 * (power / 32_768_f64.powi(2)).max(1e-12).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(name: &str, correlation: f32) -> Recognised {
        Recognised { name: name.into(), correlation, score: correlation, start_ms: 0, end_ms: 0, portion: 1.0 }
    }

    #[test]
    fn names_must_come_in_order_and_be_certain() {
        let found = [recognised("a", 0.99), recognised("noise", 0.7), recognised("b", 0.96), recognised("c", 0.94)];
        assert_eq!(match_in_order(&["a", "b"], &found).unwrap(), [("a", 0.99), ("b", 0.96)]);
        assert!(match_in_order(&["b", "a"], &found).unwrap_err().contains("a is not among"));
        assert!(match_in_order(&["c"], &found).is_err());
        let beginning = [Recognised { portion: 0.5, ..recognised("a", 0.99) }];
        assert!(match_in_order(&["a"], &beginning).is_err(), "only its beginning was heard");
        assert!(match_in_order(&["a", "a"], &found).is_err(), "heard once, said twice");
    }

    #[test]
    fn levels() {
        let pcm: Vec<i16> = [vec![16_384; 24_000], vec![0; 24_000]].concat();
        assert!((level_dbfs(&pcm, 0, 100) + 6.0).abs() < 0.1);
        assert!(level_dbfs(&pcm, 1_000, 300) < -100.0);
        assert!(level_dbfs(&pcm, 9_000, 300) < -100.0, "beyond the end there is silence");
    }
}
