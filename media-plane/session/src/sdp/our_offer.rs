//! An offer of ours, written line by line like our answers, and the reading of the far side's answer to it.
//!
//! Flow: [`offer`] writes the text of our side; [`read_answer`] judges what comes back and gives what both sides agreed on, or
//! names the rule the answer breaks (RFC 3264, section 6; RFC 8829, section 5.10). We offer one audio section with Opus, PCMU,
//! PCMA and telephone-event, full ICE, and either DTLS role; packets are sent and received under the numbers offered.

use voicebridge_audio::dtmf::EVENT_CLOCK_HZ;

use super::{
    answer::DEFAULT_FMTP,
    finding::{SdpError, Warnings, fatal},
    media,
    negotiated::{AudioCodec, DtlsRole, IceRole, Negotiated},
    text::{Text, line_ends_are_bare},
    write::{Lines, Local},
};

const NAME: &str = "answer";
/// As Meta calls its own section.
const MID: &str = "audio";
/// RFC 8842, section 5.
const PROFILE: &str = "UDP/TLS/RTP/SAVPF";
/// Dynamic, the number Meta uses too.
const OPUS: u8 = 111;
/// Static (RFC 3551, section 6).
const PCMU: u8 = 0;
/// Static (RFC 3551, section 6).
const PCMA: u8 = 8;
/// Dynamic, the number Meta uses too.
const TELEPHONE_EVENT: u8 = 126;

/// An offer of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurOffer {
    sdp: String,
}

impl OurOffer {
    /// The text. Lines end in CRLF, the last one too.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Whether the answer's codec is one of ours, under our number.
    fn has(&self, audio: &AudioCodec) -> bool {
        let map = format!("a=rtpmap:{} {}\r\n", audio.payload_type(), audio.encoding());
        self.sdp.contains(&map)
    }
}

/// Writes an offer.
#[must_use]
pub fn offer(local: &Local<'_>) -> OurOffer {
    let Local { port, ssrc, cname, .. } = local;
    let mut sdp = Lines::beginning(local, Some(MID));
    sdp.line(format_args!("m=audio {port} {PROFILE} {OPUS} {PCMU} {PCMA} {TELEPHONE_EVENT}"));
    sdp.transport(local);
    // RFC 5763, section 5.
    sdp.line(format_args!("a=setup:actpass"));
    sdp.line(format_args!("a=mid:{MID}"));
    sdp.line(format_args!("a=sendrecv"));
    sdp.line(format_args!("a=msid:{cname} {cname}-audio"));
    sdp.line(format_args!("a=rtcp-mux"));
    sdp.line(format_args!("a=rtpmap:{OPUS} opus/48000/2"));
    sdp.line(format_args!("a=fmtp:{OPUS} {DEFAULT_FMTP}"));
    sdp.line(format_args!("a=rtpmap:{PCMU} PCMU/8000"));
    sdp.line(format_args!("a=rtpmap:{PCMA} PCMA/8000"));
    sdp.line(format_args!("a=rtpmap:{TELEPHONE_EVENT} telephone-event/{EVENT_CLOCK_HZ}"));
    sdp.line(format_args!("a=ptime:20"));
    sdp.line(format_args!("a=maxptime:20"));
    sdp.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
    OurOffer { sdp: sdp.0 }
}

/// Reads the answer to an offer of ours and judges it.
///
/// # Errors
/// The first fatal rule it breaks: those of an offer, and `media-lines-differ`, `mid-differs`, `profile-differs`,
/// `audio-rejected`, `setup-not-answered`, `payload-type-not-offered`.
pub fn read_answer(offer: &OurOffer, answer: &str) -> Result<Negotiated, SdpError> {
    let mut warnings = Warnings::default();
    if line_ends_are_bare(answer) {
        warnings.add("lf-line-ends");
    }
    let text = Text::parse(NAME, answer)?;
    let [audio] = &text.media[..] else {
        let count = text.media.len();
        return fatal("media-lines-differ", format!("the answer has {count} media lines, the offer has one"));
    };
    if !audio.kind.eq_ignore_ascii_case("audio") {
        return fatal("media-lines-differ", "the answer's media line is not audio, the offer's is");
    }
    if audio.port == "0" {
        return fatal("audio-rejected", "the m=audio line has port 0: the far side turns the audio down");
    }
    if !audio.profile.eq_ignore_ascii_case(PROFILE) {
        return fatal("profile-differs", format!("the answer's audio is not {PROFILE} as offered"));
    }
    match audio.attribute("mid") {
        Some(MID) => {}
        Some(_) => return fatal("mid-differs", format!("the answer's mid is not {MID} as offered")),
        None => warnings.add("no-mid"),
    }
    let dtls_role = match media::of_either(&text, audio, "setup") {
        Some("active") => DtlsRole::Server,
        Some("passive") => DtlsRole::Client,
        // RFC 4145, section 4: what an answer without one means.
        None => {
            warnings.add("no-setup");
            DtlsRole::Client
        }
        Some(_) => {
            return fatal(
                "setup-not-answered",
                "the answer's a=setup is neither active nor passive (RFC 5763, section 5)",
            );
        }
    };
    let mut facts = media::read(NAME, &text, audio, &mut warnings)?;
    if !offer.has(&facts.audio) {
        let (payload_type, encoding) = (facts.audio.payload_type(), facts.audio.encoding());
        return fatal(
            "payload-type-not-offered",
            format!("the answer has {encoding} as {payload_type}, not as offered"),
        );
    }
    if facts.telephone_event.is_some_and(|event| event.payload_type != TELEPHONE_EVENT) {
        warnings.add("telephone-event-not-offered");
        facts.telephone_event = None;
    }
    // Of two full ends the offerer controls, and a lite one never does (RFC 8445, section 6.1.1).
    Ok(Negotiated::new(facts, IceRole::Controlling, dtls_role, warnings))
}
