//! The lint of an offer: rules with names, the first fatal one stops the call, the others warn.
//!
//! Fatal are only the things without which no call can come about. Everything else a real caller may get away with.

use std::net::{IpAddr, SocketAddr};

use voicebridge_audio::{dtmf::EVENT_CLOCK_HZ, g711::Law};

use super::{
    MAX_CANDIDATES, MAX_FINGERPRINTS, MAX_MEDIA_LINES, MAX_OFFER_BYTES,
    offer::{AudioOffer, DtlsSetup, Offer, OpusOffer, RejectedMedia, TelephoneEvent},
};

/// An offer no answer of ours can serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {message}")]
pub struct OfferError {
    /// The rule it breaks, kebab-case and stable.
    pub rule: &'static str,
    /// What was expected, for a person. Quotes nothing secret.
    pub message: String,
}

fn fatal<T>(rule: &'static str, message: &str) -> Result<T, OfferError> {
    Err(OfferError { rule, message: message.to_owned() })
}

/// Reads an offer and judges it.
///
/// # Errors
/// The first fatal rule it breaks: `too-long`, `escaped-line-ends`, `not-sdp`, `too-many-media-lines`, `no-audio-line`, `audio-disabled`,
/// `not-sendrecv`, `no-ice-ufrag`, `no-ice-pwd`, `no-sha256-fingerprint`, `bad-fingerprint`, `no-known-codec`.
pub fn lint(offer: &str) -> Result<Offer, OfferError> {
    if offer.len() > MAX_OFFER_BYTES {
        return fatal("too-long", "the offer is longer than 64 KiB");
    }
    let mut warnings = Warnings::default();
    if line_ends_are_bare(offer) {
        warnings.add("lf-line-ends");
    }
    let text = Text::parse(offer)?;
    let Some((audio_index, audio)) =
        text.media.iter().enumerate().find(|(_, media)| media.kind.eq_ignore_ascii_case("audio"))
    else {
        return fatal("no-audio-line", "the offer has no m=audio line; voicebridge carries audio only");
    };
    if audio.port == "0" && !audio.has_flag("bundle-only") {
        return fatal("audio-disabled", "the m=audio line has port 0, which offers no audio");
    }
    let direction = ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|direction| audio.has_flag(direction))
        .or_else(|| ["sendonly", "recvonly", "inactive"].into_iter().find(|d| text.session.has_flag(d)))
        .unwrap_or("sendrecv");
    if direction != "sendrecv" {
        return fatal("not-sendrecv", &format!("the audio is {direction}; a conversation needs sendrecv"));
    }
    let attribute = |name: &str| audio.attribute(name).or_else(|| text.session.attribute(name));
    let Some(ice_ufrag) = attribute("ice-ufrag").filter(|value| !value.is_empty()) else {
        return fatal("no-ice-ufrag", "the offer has no a=ice-ufrag, neither for the session nor for the audio");
    };
    let Some(ice_pwd) = attribute("ice-pwd").filter(|value| !value.is_empty()) else {
        return fatal("no-ice-pwd", "the offer has no a=ice-pwd, neither for the session nor for the audio");
    };
    let fingerprints = fingerprints(&text, audio, &mut warnings)?;
    let codec = codec(audio)?;

    if text.media.len() > 1 {
        warnings.add("several-media-lines");
    }
    if !audio.profile.eq_ignore_ascii_case("UDP/TLS/RTP/SAVPF") {
        warnings.add("unusual-profile");
    }
    // RFC 8839, section 5.4: 4 to 256 and 22 to 256 characters.
    if ice_ufrag.len() < 4 || ice_pwd.len() < 22 {
        warnings.add("short-ice-credentials");
    }
    let setup = match attribute("setup") {
        Some("actpass") => DtlsSetup::Actpass,
        Some("active") => DtlsSetup::Active,
        Some("passive") => DtlsSetup::Passive,
        Some(_) => {
            warnings.add("unknown-setup");
            DtlsSetup::Actpass
        }
        None => {
            warnings.add("no-setup");
            DtlsSetup::Actpass
        }
    };
    let mid = audio.attribute("mid").filter(|mid| !mid.is_empty()).map(str::to_owned);
    if mid.is_none() {
        warnings.add("no-mid");
    }
    let bundle = mid.as_deref().is_some_and(|mid| {
        text.session.attributes("group").any(|group| {
            let mut words = group.split_ascii_whitespace();
            words.next() == Some("BUNDLE") && words.any(|word| word == mid)
        })
    });
    if !bundle {
        warnings.add("no-bundle");
    }
    let rtcp_mux = audio.has_flag("rtcp-mux");
    if !rtcp_mux {
        warnings.add("no-rtcp-mux");
    }
    let telephone_event = telephone_event(audio, &mut warnings);
    let ptime = audio.attribute("ptime").and_then(|value| value.parse().ok());
    match ptime {
        None => warnings.add("no-ptime"),
        Some(20) => {}
        Some(_) => warnings.add("ptime-not-20"),
    }
    let maxptime = audio.attribute("maxptime").and_then(|value| value.parse().ok());
    if maxptime.is_some_and(|maxptime: u32| maxptime < 20) {
        warnings.add("maxptime-below-20");
    }
    if audio.attribute("candidate").is_none() {
        warnings.add("no-candidates");
    }

    Ok(Offer {
        mid,
        ice_ufrag: ice_ufrag.to_owned(),
        ice_pwd: ice_pwd.to_owned(),
        fingerprints,
        // RFC 8839, section 5.3, has it for the session; gateways write it into the media section.
        ice_lite: text.session.has_flag("ice-lite") || audio.has_flag("ice-lite"),
        setup,
        candidates: candidates(&text),
        audio: codec,
        telephone_event,
        ptime,
        maxptime,
        rtcp_mux,
        bundle,
        profile: audio.profile.to_owned(),
        rejected: text
            .media
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != audio_index)
            .map(|(_, media)| RejectedMedia {
                kind: media.kind.to_owned(),
                profile: media.profile.to_owned(),
                formats: media.formats.join(" "),
                mid: media.attribute("mid").map(str::to_owned),
            })
            .collect(),
        audio_index,
        warnings: warnings.0,
    })
}

/// The far side's sha-256 fingerprints. Those of other hashes beside them are left alone (aiortc offers sha-384 and sha-512
/// as well), and so is one that is none, if another is good. Those of the session hold where the audio has none (RFC 8122,
/// section 5).
fn fingerprints(text: &Text<'_>, audio: &Section<'_>, warnings: &mut Warnings) -> Result<Vec<String>, OfferError> {
    let mut all: Vec<&str> = audio.attributes("fingerprint").collect();
    if all.is_empty() {
        all = text.session.attributes("fingerprint").collect();
    }
    if all.len() > 1 {
        warnings.add("several-fingerprints");
    }
    let sha256 = all.iter().filter_map(|value| {
        let (hash, digits) = value.split_once(char::is_whitespace)?;
        hash.eq_ignore_ascii_case("sha-256").then_some(digits.trim())
    });
    let (good, bad): (Vec<&str>, Vec<&str>) = sha256.partition(|digits| is_sha256(digits));
    match (good.is_empty(), bad.is_empty()) {
        (true, true) => return fatal("no-sha256-fingerprint", "the offer has no a=fingerprint:sha-256 line"),
        (true, false) => {
            return fatal("bad-fingerprint", "the sha-256 fingerprint is not 32 hex pairs separated by colons");
        }
        (false, false) => warnings.add("bad-fingerprint"),
        (false, true) => {}
    }
    if good.len() > MAX_FINGERPRINTS {
        warnings.add("too-many-fingerprints");
    }
    Ok(good.into_iter().take(MAX_FINGERPRINTS).map(str::to_ascii_uppercase).collect())
}

fn is_sha256(digits: &str) -> bool {
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.split(':').count() == 32 && digits.split(':').all(is_pair)
}

/// The candidates that UDP can reach. TCP, mDNS names, the second component and what cannot be read are left out. Those of a
/// bundle may stand in any of its sections (RFC 8843, section 7.1.3).
fn candidates(text: &Text<'_>) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for candidate in text.media.iter().flat_map(|media| media.attributes("candidate")).filter_map(candidate) {
        if found.len() < MAX_CANDIDATES && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

fn candidate(value: &str) -> Option<SocketAddr> {
    // foundation component transport priority address port "typ" ... (RFC 8839, section 5.1)
    let mut fields = value.split_ascii_whitespace().skip(1);
    let mut next = || fields.next();
    let (component, transport, _priority) = (next()?, next()?, next()?);
    let (address, port) = (next()?.parse::<IpAddr>().ok()?, next()?.parse::<u16>().ok()?);
    let usable = component == "1" && transport.eq_ignore_ascii_case("udp") && port != 0;
    usable.then(|| SocketAddr::new(address, port))
}

/// Opus wherever it stands among the formats; without it the first of PCMU and PCMA.
fn codec(audio: &Section<'_>) -> Result<AudioOffer, OfferError> {
    let opus = audio.payload_types().find(|&payload_type| audio.encodes(payload_type, "opus", 48_000));
    if let Some(payload_type) = opus {
        return Ok(AudioOffer::Opus(opus_offer(audio, payload_type)));
    }
    let g711 = audio.payload_types().find_map(|payload_type| Some((g711_law(audio, payload_type)?, payload_type)));
    match g711 {
        Some((law, payload_type)) => Ok(AudioOffer::G711 { law, payload_type }),
        None => fatal(
            "no-known-codec",
            "the offer has none of opus/48000, PCMU/8000 and PCMA/8000, the codecs voicebridge speaks",
        ),
    }
}

/// Types 0 and 8 mean PCMU and PCMA even without a map (RFC 3551, section 6); a map decides where there is one.
fn g711_law(audio: &Section<'_>, payload_type: u8) -> Option<Law> {
    match (payload_type, audio.rtpmap(payload_type)) {
        (0, None) => Some(Law::Mu),
        (8, None) => Some(Law::A),
        _ if audio.encodes(payload_type, "PCMU", 8_000) => Some(Law::Mu),
        _ if audio.encodes(payload_type, "PCMA", 8_000) => Some(Law::A),
        _ => None,
    }
}

fn opus_offer(audio: &Section<'_>, payload_type: u8) -> OpusOffer {
    let fmtp = audio.fmtp(payload_type);
    let parameter = |name: &str| {
        fmtp?.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    OpusOffer {
        payload_type,
        // RFC 7587, section 6.1: 6000 to 510000; anything else says nothing.
        max_average_bitrate: parameter("maxaveragebitrate")
            .and_then(|value| value.parse().ok())
            .filter(|bitrate| (6_000..=510_000).contains(bitrate)),
        max_playback_rate: parameter("maxplaybackrate")
            .and_then(|value| value.parse().ok())
            .filter(|rate| (8_000..=48_000).contains(rate)),
        in_band_fec: parameter("useinbandfec") == Some("1"),
        fmtp: fmtp.map(str::to_owned),
    }
}

/// Telephone-event at 8 kHz, the clock at which keys are counted here and by Meta. At another one it is not agreed to:
/// its durations would be read, and written, wrong.
fn telephone_event(audio: &Section<'_>, warnings: &mut Warnings) -> Option<TelephoneEvent> {
    let at_any_clock = |payload_type: &u8| {
        let name = audio.rtpmap(*payload_type).and_then(|map| map.split('/').next());
        name.is_some_and(|name| name.eq_ignore_ascii_case("telephone-event"))
    };
    let offered: Vec<u8> = audio.payload_types().filter(at_any_clock).collect();
    let ours = offered
        .iter()
        .find(|&&payload_type| audio.encodes(payload_type, "telephone-event", EVENT_CLOCK_HZ))
        .map(|&payload_type| TelephoneEvent { payload_type });
    match (ours, offered.is_empty()) {
        (Some(_), _) => {}
        (None, true) => warnings.add("no-telephone-event"),
        (None, false) => warnings.add("telephone-event-clock"),
    }
    ours
}

/// Whether a first line is a whole text that was put into a JSON string once more than it was taken out.
fn is_escaped(first: &str) -> bool {
    first.trim_start_matches('"').strip_prefix("v=0").is_some_and(|rest| rest.starts_with('\\'))
}

fn line_ends_are_bare(text: &str) -> bool {
    text.split_inclusive('\n').any(|line| line.ends_with('\n') && !line.ends_with("\r\n"))
}

/// Findings, each kept once.
#[derive(Default)]
struct Warnings(Vec<&'static str>);

impl Warnings {
    fn add(&mut self, rule: &'static str) {
        if !self.0.contains(&rule) {
            self.0.push(rule);
        }
    }
}

/// The lines of an offer, sorted by the section they belong to. Borrows the text.
struct Text<'a> {
    session: Section<'a>,
    media: Vec<Section<'a>>,
}

/// The session part, or one media line and what follows it.
#[derive(Default)]
struct Section<'a> {
    kind: &'a str,
    port: &'a str,
    profile: &'a str,
    formats: Vec<&'a str>,
    lines: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn parse(text: &'a str) -> Result<Self, OfferError> {
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        match lines.next() {
            Some("v=0") => {}
            Some(first) if is_escaped(first) => {
                return fatal(
                    "escaped-line-ends",
                    "the offer's line ends are a backslash and a letter: its text was escaped twice on the way. Look at \
                     what passes Meta's webhook on, or makes the request: it encodes as JSON what is encoded already",
                );
            }
            _ => return fatal("not-sdp", "the offer does not begin with v=0 (RFC 8866)"),
        }
        let mut session = Section::default();
        let mut media: Vec<Section<'a>> = Vec::new();
        for line in lines {
            if let Some(rest) = line.strip_prefix("m=") {
                if media.len() == MAX_MEDIA_LINES {
                    return fatal("too-many-media-lines", "the offer has more than 32 media lines");
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

    fn has_flag(&self, name: &str) -> bool {
        self.lines.contains(&name)
    }

    fn attributes<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.lines.iter().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes(name).next()
    }

    fn payload_types(&self) -> impl Iterator<Item = u8> + '_ {
        self.formats.iter().filter_map(|format| format.parse().ok()).filter(|payload_type| *payload_type < 128)
    }

    fn rtpmap(&self, payload_type: u8) -> Option<&'a str> {
        self.of_payload_type("rtpmap", payload_type)
    }

    /// Whether the payload type is mapped to this encoding at this clock (RFC 8866, section 6.6).
    fn encodes(&self, payload_type: u8, encoding: &str, clock_hz: u32) -> bool {
        let Some(map) = self.rtpmap(payload_type) else { return false };
        let mut parts = map.split('/');
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding))
            && parts.next().is_some_and(|clock| clock.parse() == Ok(clock_hz))
    }

    fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        self.of_payload_type("fmtp", payload_type)
    }

    fn of_payload_type(&self, name: &str, payload_type: u8) -> Option<&'a str> {
        self.attributes(name).find_map(|value| {
            let (number, rest) = value.split_once(' ')?;
            (number.parse() == Ok(payload_type)).then_some(rest.trim())
        })
    }
}
