//! The recordings, compiled in, with the words spoken in them.
//!
//! `fixtures/fixtures.tsv` is the index, `scripts/speech/generate` makes the WAV files from it. A row added
//! there is added to [`WAVS`] too; a test insists.

use std::sync::OnceLock;

use super::{SAMPLES_PER_MS, envelope::Envelope, read_wav};

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A person calling.
    Caller,
    /// The AI.
    Agent,
}

/// One recording of known words.
#[derive(Debug)]
pub struct Fixture {
    /// Unique, kebab-case, e.g. `opening-hours`. Names of farewells of callers begin with `goodbye-`, those of
    /// the AI with `farewell-`, both followed by the language.
    pub name: String,
    /// ISO 639-1: en, pt, es, de, hi.
    pub language: String,
    /// Who says it.
    pub role: Role,
    /// The exact words.
    pub text: String,
    /// 24 kHz mono, cut to the speech, about -20 dBFS RMS.
    pub pcm: Vec<i16>,
    envelope: OnceLock<Envelope>,
}

impl Fixture {
    /// A recording of one's own, to be recognised among others.
    #[must_use]
    pub fn new(name: &str, language: &str, role: Role, text: &str, pcm: Vec<i16>) -> Self {
        Self {
            name: name.to_owned(),
            language: language.to_owned(),
            role,
            text: text.to_owned(),
            pcm,
            envelope: OnceLock::new(),
        }
    }

    /// Length, milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        (self.pcm.len() / SAMPLES_PER_MS) as u64
    }

    /// Whether a caller ends the conversation with it.
    #[must_use]
    pub fn is_goodbye(&self) -> bool {
        self.role == Role::Caller && self.name.starts_with("goodbye-")
    }

    /// Whether the AI ends the conversation with it.
    #[must_use]
    pub fn is_farewell(&self) -> bool {
        self.role == Role::Agent && self.name.starts_with("farewell-")
    }

    pub(super) fn envelope(&self) -> &Envelope {
        self.envelope.get_or_init(|| Envelope::of(&self.pcm))
    }
}

/// All recordings, in the order of the index.
#[must_use]
pub fn fixtures() -> &'static [Fixture] {
    static FIXTURES: OnceLock<Vec<Fixture>> = OnceLock::new();
    FIXTURES.get_or_init(|| INDEX.lines().skip(1).map(|row| load(row, WAVS)).collect())
}

/// The recording of that name.
#[must_use]
pub fn fixture(name: &str) -> Option<&'static Fixture> {
    fixtures().iter().find(|fixture| fixture.name == name)
}

type Wav = (&'static str, &'static [u8]);

/// Both are compiled in from the same folder, so what is wrong with them is a mistake in this crate, found by
/// every test that touches a fixture.
fn load(row: &str, wavs: &[Wav]) -> Fixture {
    let mut columns = row.split('\t');
    let mut column = || columns.next().expect("a row of the index has four columns");
    let (name, language, role, text) = (column(), column(), column(), column());
    let role = match role {
        "caller" => Role::Caller,
        "agent" => Role::Agent,
        other => panic!("the index knows caller and agent, not {other}"),
    };
    let path = format!("{language}/{name}");
    let (_, bytes) = wavs.iter().find(|(known, _)| *known == path).expect("each row of the index is compiled in");
    Fixture::new(name, language, role, text, read_wav(bytes).expect("fixtures are 24 kHz mono 16 bit WAV files"))
}

const INDEX: &str = include_str!("../../fixtures/fixtures.tsv");

macro_rules! wav {
    ($language:literal, $name:literal) => {
        (
            concat!($language, "/", $name),
            include_bytes!(concat!("../../fixtures/", $language, "/", $name, ".wav")).as_slice(),
        )
    };
}

static WAVS: &[Wav] = &[
    wav!("en", "opening-hours"),
    wav!("en", "where-is-my-order"),
    wav!("en", "wait-a-moment"),
    wav!("en", "goodbye-en"),
    wav!("pt", "delivery-address"),
    wav!("pt", "store-today"),
    wav!("pt", "goodbye-pt"),
    wav!("es", "shipping-cost"),
    wav!("es", "change-appointment"),
    wav!("es", "goodbye-es"),
    wav!("de", "invoice"),
    wav!("de", "monday-instead"),
    wav!("de", "goodbye-de"),
    wav!("hi", "payment"),
    wav!("hi", "shop-location"),
    wav!("hi", "goodbye-hi"),
    wav!("en", "welcome"),
    wav!("en", "open-from-nine"),
    wav!("en", "parcel-tomorrow"),
    wav!("en", "three-steps"),
    wav!("pt", "address-changed"),
    wav!("es", "five-euros"),
    wav!("de", "ten-o-clock"),
    wav!("hi", "near-the-market"),
    wav!("en", "farewell-en"),
    wav!("pt", "farewell-pt"),
    wav!("es", "farewell-es"),
    wav!("de", "farewell-de"),
    wav!("hi", "farewell-hi"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_index_and_the_files_name_the_same_recordings() {
        let indexed: BTreeSet<String> =
            fixtures().iter().map(|fixture| format!("{}/{}", fixture.language, fixture.name)).collect();
        let compiled: BTreeSet<String> = WAVS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(indexed, compiled);
        assert_eq!(indexed.len(), fixtures().len(), "names are unique");
    }

    #[test]
    fn each_language_has_callers_a_goodbye_a_reply_and_a_farewell() {
        for language in ["en", "pt", "es", "de", "hi"] {
            let of = |check: &dyn Fn(&Fixture) -> bool| {
                fixtures().iter().filter(|fixture| fixture.language == language && check(fixture)).count()
            };
            assert!(of(&|fixture| fixture.role == Role::Caller && !fixture.is_goodbye()) >= 2, "{language}");
            assert!(of(&|fixture| fixture.role == Role::Agent && !fixture.is_farewell()) >= 1, "{language}");
            assert_eq!(of(&Fixture::is_goodbye), 1, "{language}");
            assert_eq!(of(&Fixture::is_farewell), 1, "{language}");
        }
    }

    #[test]
    fn recordings_are_speech_at_the_level_the_generator_promises() {
        for fixture in fixtures() {
            let power =
                fixture.pcm.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / fixture.pcm.len() as f64;
            let dbfs = 10.0 * (power / 32_768_f64.powi(2)).log10();
            assert!((-23.0..-19.5).contains(&dbfs), "{}: {dbfs} dBFS", fixture.name);
            assert!((1_500..9_000).contains(&fixture.duration_ms()), "{}", fixture.name);
        }
    }
}
