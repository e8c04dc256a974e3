//! What both sides heard, as WAV files to listen to.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use voicebridge_simulator::speech::write_wav;

use super::evidence::Evidence;

/// Where the recordings of one call are.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recordings {
    pub(crate) heard_by_caller: PathBuf,
    pub(crate) heard_by_ai: PathBuf,
}

/// Writes both; `number` counts calls from 1.
pub(crate) fn write(folder: &Path, number: usize, evidence: &Evidence) -> anyhow::Result<Recordings> {
    let files = Recordings {
        heard_by_caller: folder.join(format!("call-{number:02}-heard-by-caller.wav")),
        heard_by_ai: folder.join(format!("call-{number:02}-heard-by-ai.wav")),
    };
    let by_ai = evidence.session.as_ref().map_or(&[][..], |session| &session.pcm);
    for (file, pcm) in [(&files.heard_by_caller, evidence.record.pcm_heard.as_slice()), (&files.heard_by_ai, by_ai)] {
        write_wav(file, pcm).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(files)
}
