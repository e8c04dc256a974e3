//! Our answer, written line by line so that every line is one we decided on.
//!
//! The shape is the one Meta's endpoints are known to accept: exactly one sha-256 fingerprint, `setup:active`, their mid
//! and payload type numbers, one SSRC, one candidate, CRLF. No header extensions and no transport-cc: the peer sends
//! none, and an answer must not promise what it does not do.

use voicebridge_audio::dtmf::EVENT_CLOCK_HZ;

use super::{
    negotiated::{AudioCodec, Negotiated},
    offer::Offer,
    write::{Lines, Local},
};

/// Format parameters when the offer had none: we use in-band error correction whoever sends it.
pub(super) const DEFAULT_FMTP: &str = "minptime=10;useinbandfec=1";

/// Parameters that may be mirrored. The others (stereo, cbr, usedtx, ...) would promise what we do not want.
const MIRRORED: [&str; 5] =
    ["maxaveragebitrate", "maxplaybackrate", "minptime", "sprop-maxcapturerate", "useinbandfec"];

/// Writes the answer to a linted offer. Lines end in CRLF, the last one too.
#[must_use]
pub fn answer(offer: &Offer, local: &Local<'_>) -> String {
    let bundled = offer.mid.as_deref().filter(|_| offer.bundle);
    let mut sdp = Lines::beginning(local, bundled);
    // The answer has a line for every line of the offer, in the same order (RFC 3264, section 6).
    let (before, after) = offer.rejected.split_at(offer.audio_index.min(offer.rejected.len()));
    before.iter().for_each(|media| sdp.rejected(media));
    audio(&mut sdp, offer, local);
    after.iter().for_each(|media| sdp.rejected(media));
    sdp.0
}

fn audio(sdp: &mut Lines, offer: &Offer, local: &Local<'_>) {
    let Negotiated { audio, telephone_event, maxptime, .. } = &offer.negotiated;
    let codec = audio.payload_type();
    let Local { port, ssrc, cname, .. } = local;
    match telephone_event {
        Some(event) => sdp.line(format_args!("m=audio {port} {} {codec} {}", offer.profile, event.payload_type)),
        None => sdp.line(format_args!("m=audio {port} {} {codec}", offer.profile)),
    }
    sdp.transport(local);
    sdp.line(format_args!("a=setup:{}", offer.setup.answered().as_str()));
    if let Some(mid) = &offer.mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
    sdp.line(format_args!("a=sendrecv"));
    sdp.line(format_args!("a=msid:{cname} {cname}-audio"));
    if offer.rtcp_mux {
        sdp.line(format_args!("a=rtcp-mux"));
    }
    sdp.line(format_args!("a=rtpmap:{codec} {}", audio.encoding()));
    if let AudioCodec::Opus(opus) = audio {
        sdp.line(format_args!("a=fmtp:{codec} {}", mirrored_fmtp(opus.fmtp.as_deref())));
    }
    if let Some(event) = telephone_event {
        sdp.line(format_args!("a=rtpmap:{} telephone-event/{EVENT_CLOCK_HZ}", event.payload_type));
    }
    sdp.line(format_args!("a=ptime:20"));
    sdp.line(format_args!("a=maxptime:{}", maxptime.unwrap_or(20).clamp(20, 120)));
    sdp.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
}

/// The offered parameters we stand for, in the order offered, each pair as it was written.
fn mirrored_fmtp(offered: Option<&str>) -> String {
    let Some(offered) = offered else { return DEFAULT_FMTP.to_owned() };
    let kept: Vec<&str> = offered
        .split(';')
        .map(str::trim)
        .filter(|pair| {
            let key = pair.split('=').next().unwrap_or_default();
            MIRRORED.iter().any(|mirrored| mirrored.eq_ignore_ascii_case(key))
        })
        .collect();
    if kept.is_empty() { DEFAULT_FMTP.to_owned() } else { kept.join(";") }
}
