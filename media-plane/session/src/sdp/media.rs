//! What the audio section of an offer or an answer says, with the session part where that stands in for it: how to reach the
//! far side and to recognise it, and what it speaks.

use std::net::{IpAddr, SocketAddr};

use voicebridge_audio::{dtmf::EVENT_CLOCK_HZ, g711::Law};

use super::{
    MAX_CANDIDATES, MAX_FINGERPRINTS,
    finding::{SdpError, Warnings, fatal},
    negotiated::{AudioCodec, OpusParameters, TelephoneEvent},
    text::{Section, Text},
};

/// See the module.
pub(super) struct Facts {
    pub(super) ice_ufrag: String,
    pub(super) ice_pwd: String,
    pub(super) fingerprints: Vec<String>,
    pub(super) ice_lite: bool,
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) audio: AudioCodec,
    pub(super) telephone_event: Option<TelephoneEvent>,
    pub(super) ptime: Option<u32>,
    pub(super) maxptime: Option<u32>,
    pub(super) rtcp_mux: bool,
}

/// Reads a section that carries audio. `name` is what to call the text in findings.
pub(super) fn read(
    name: &str,
    text: &Text<'_>,
    audio: &Section<'_>,
    warnings: &mut Warnings,
) -> Result<Facts, SdpError> {
    let direction = ["sendrecv", "sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|direction| audio.has_flag(direction))
        .or_else(|| ["sendonly", "recvonly", "inactive"].into_iter().find(|d| text.session.has_flag(d)))
        .unwrap_or("sendrecv");
    if direction != "sendrecv" {
        return fatal("not-sendrecv", format!("the {name}'s audio is {direction}; a conversation needs sendrecv"));
    }
    let credential = |attribute: &str, rule: &'static str| {
        let value = of_either(text, audio, attribute).filter(|value| !value.is_empty());
        let missing = || format!("the {name} has no a={attribute}, neither for the session nor for the audio");
        value.map_or_else(|| fatal(rule, missing()), Ok)
    };
    let ice_ufrag = credential("ice-ufrag", "no-ice-ufrag")?;
    let ice_pwd = credential("ice-pwd", "no-ice-pwd")?;
    let fingerprints = fingerprints(name, text, audio, warnings)?;
    let codec = codec(name, audio)?;
    // RFC 8839, section 5.4: 4 to 256 and 22 to 256 characters.
    if ice_ufrag.len() < 4 || ice_pwd.len() < 22 {
        warnings.add("short-ice-credentials");
    }
    let rtcp_mux = audio.has_flag("rtcp-mux");
    if !rtcp_mux {
        warnings.add("no-rtcp-mux");
    }
    let telephone_event = telephone_event(audio, warnings);
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
    let candidates = candidates(text);
    if audio.attribute("candidate").is_none() {
        warnings.add("no-candidates");
    }
    Ok(Facts {
        ice_ufrag: ice_ufrag.to_owned(),
        ice_pwd: ice_pwd.to_owned(),
        fingerprints,
        // RFC 8839, section 5.3, has it for the session; gateways write it into the media section.
        ice_lite: text.session.has_flag("ice-lite") || audio.has_flag("ice-lite"),
        candidates,
        audio: codec,
        telephone_event,
        ptime,
        maxptime,
        rtcp_mux,
    })
}

/// An attribute of the audio, or of the session where the audio has none.
pub(super) fn of_either<'a>(text: &Text<'a>, audio: &Section<'a>, name: &str) -> Option<&'a str> {
    audio.attribute(name).or_else(|| text.session.attribute(name))
}

/// The far side's sha-256 fingerprints. Those of other hashes beside them are left alone (aiortc offers sha-384 and sha-512
/// as well), and so is one that is none, if another is good. Those of the session hold where the audio has none (RFC 8122,
/// section 5).
fn fingerprints(
    name: &str,
    text: &Text<'_>,
    audio: &Section<'_>,
    warnings: &mut Warnings,
) -> Result<Vec<String>, SdpError> {
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
        (true, true) => return fatal("no-sha256-fingerprint", format!("the {name} has no a=fingerprint:sha-256 line")),
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
fn codec(name: &str, audio: &Section<'_>) -> Result<AudioCodec, SdpError> {
    let opus = audio.payload_types().find(|&payload_type| audio.encodes(payload_type, "opus", 48_000));
    if let Some(payload_type) = opus {
        return Ok(AudioCodec::Opus(opus_parameters(audio, payload_type)));
    }
    let g711 = audio.payload_types().find_map(|payload_type| Some((g711_law(audio, payload_type)?, payload_type)));
    match g711 {
        Some((law, payload_type)) => Ok(AudioCodec::G711 { law, payload_type }),
        None => fatal(
            "no-known-codec",
            format!("the {name} has none of opus/48000, PCMU/8000 and PCMA/8000, the codecs voicebridge speaks"),
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

fn opus_parameters(audio: &Section<'_>, payload_type: u8) -> OpusParameters {
    let fmtp = audio.fmtp(payload_type);
    let parameter = |name: &str| {
        fmtp?.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    OpusParameters {
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
