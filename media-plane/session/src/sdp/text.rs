//! The lines of an SDP text, sorted by the section they belong to. Knows no rule but what it takes to sort them.

use super::{
    MAX_MEDIA_LINES, MAX_SDP_BYTES,
    finding::{SdpError, fatal},
};

/// An offer or an answer. Borrows the text.
pub(super) struct Text<'a> {
    pub(super) session: Section<'a>,
    pub(super) media: Vec<Section<'a>>,
}

/// The session part, or one media line and what follows it.
#[derive(Default)]
pub(super) struct Section<'a> {
    pub(super) kind: &'a str,
    pub(super) port: &'a str,
    pub(super) profile: &'a str,
    pub(super) formats: Vec<&'a str>,
    lines: Vec<&'a str>,
}

impl<'a> Text<'a> {
    /// `name` is what to call it in findings.
    pub(super) fn parse(name: &str, text: &'a str) -> Result<Self, SdpError> {
        if text.len() > MAX_SDP_BYTES {
            return fatal("too-long", format!("the {name} is longer than 64 KiB"));
        }
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        match lines.next() {
            Some("v=0") => {}
            Some(first) if is_escaped(first) => {
                return fatal(
                    "escaped-line-ends",
                    format!(
                        "the {name}'s line ends are a backslash and a letter: its text was escaped twice on the way. Look at \
                         what passes Meta's webhook on, or makes the request: it encodes as JSON what is encoded already"
                    ),
                );
            }
            _ => return fatal("not-sdp", format!("the {name} does not begin with v=0 (RFC 8866)")),
        }
        let mut session = Section::default();
        let mut media: Vec<Section<'a>> = Vec::new();
        for line in lines {
            if let Some(rest) = line.strip_prefix("m=") {
                if media.len() == MAX_MEDIA_LINES {
                    return fatal("too-many-media-lines", format!("the {name} has more than 32 media lines"));
                }
                media.push(Section::of_media_line(rest));
            } else if let Some(attribute) = line.strip_prefix("a=") {
                media.last_mut().unwrap_or(&mut session).lines.push(attribute);
            }
        }
        Ok(Self { session, media })
    }
}

impl<'a> Section<'a> {
    fn of_media_line(rest: &'a str) -> Self {
        let mut words = rest.split_ascii_whitespace();
        let mut next = || words.next().unwrap_or_default();
        Self { kind: next(), port: next(), profile: next(), formats: words.collect(), lines: Vec::new() }
    }

    pub(super) fn has_flag(&self, name: &str) -> bool {
        self.lines.contains(&name)
    }

    pub(super) fn attributes<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.lines.iter().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes(name).next()
    }

    pub(super) fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|payload_type| *payload_type < 128)
    }

    pub(super) fn rtpmap(&self, payload_type: u8) -> Option<&'a str> {
        self.of_payload_type("rtpmap", payload_type)
    }

    /// Whether the payload type is mapped to this encoding at this clock (RFC 8866, section 6.6).
    pub(super) fn encodes(&self, payload_type: u8, encoding: &str, clock_hz: u32) -> bool {
        let Some(map) = self.rtpmap(payload_type) else { return false };
        let mut parts = map.split('/');
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding))
            && parts.next().is_some_and(|clock| clock.parse() == Ok(clock_hz))
    }

    pub(super) fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        self.of_payload_type("fmtp", payload_type)
    }

    fn of_payload_type(&self, name: &str, payload_type: u8) -> Option<&'a str> {
        self.attributes(name).find_map(|value| {
            let (number, rest) = value.split_once(' ')?;
            (number.parse() == Ok(payload_type)).then_some(rest.trim())
        })
    }
}

/// Whether a first line is a whole text that was put into a JSON string once more than it was taken out.
fn is_escaped(first: &str) -> bool {
    first.trim_start_matches('"').strip_prefix("v=0").is_some_and(|rest| rest.starts_with('\\'))
}

pub(super) fn line_ends_are_bare(text: &str) -> bool {
    text.split_inclusive('\n').any(|line| line.ends_with('\n') && !line.ends_with("\r\n"))
}
