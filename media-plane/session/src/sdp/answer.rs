//! Our answer, written line by line so that every line is one we decided on.
//!
//! The shape is the one Meta's endpoints are known to accept: exactly one sha-256 fingerprint, `setup:active`, their mid
//! and payload type numbers, one SSRC, one candidate, CRLF. No header extensions and no transport-cc: the peer sends
//! none, and an answer must not promise what it does not do.

use std::{fmt::Write as _, net::IpAddr};

use voicebridge_audio::dtmf::EVENT_CLOCK_HZ;

use super::offer::{AudioOffer, Offer, RejectedMedia};

/// Our side of the call.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Where the far side reaches us; announced in the connection line and the candidate.
    pub address: IpAddr,
    /// UDP port of this call.
    pub port: u16,
    /// ICE user fragment of ours.
    pub ice_ufrag: &'a str,
    /// ICE password of ours. A secret of the call.
    pub ice_pwd: &'a str,
    /// sha-256 fingerprint of our certificate, `AA:BB:..`.
    pub fingerprint: &'a str,
    /// The one SSRC of the call.
    pub ssrc: u32,
    /// RTCP canonical name; also names our media stream.
    pub cname: &'a str,
    /// `sess-id` of the origin line, unique per answer.
    pub origin_id: u64,
}

/// Priority of a host candidate with local preference 65535 (RFC 8445, section 5.1.2.1).
const HOST_CANDIDATE_PRIORITY: u32 = 2_130_706_431;

/// Format parameters when the offer had none: we use in-band error correction whoever sends it.
const DEFAULT_FMTP: &str = "minptime=10;useinbandfec=1";

/// Parameters that may be mirrored. The others (stereo, cbr, usedtx, ...) would promise what we do not want.
const MIRRORED: [&str; 5] =
    ["maxaveragebitrate", "maxplaybackrate", "minptime", "sprop-maxcapturerate", "useinbandfec"];

/// Writes the answer to a linted offer. Lines end in CRLF, the last one too.
#[must_use]
pub fn answer(offer: &Offer, local: &Local<'_>) -> String {
    let mut sdp = Lines(String::with_capacity(1_024));
    sdp.line(format_args!("v=0"));
    sdp.line(format_args!("o=- {} 2 IN IP4 127.0.0.1", local.origin_id));
    sdp.line(format_args!("s=-"));
    sdp.line(format_args!("t=0 0"));
    if let (true, Some(mid)) = (offer.bundle, &offer.mid) {
        sdp.line(format_args!("a=group:BUNDLE {mid}"));
    }
    sdp.line(format_args!("a=msid-semantic: WMS *"));
    // The answer has a line for every line of the offer, in the same order (RFC 3264, section 6).
    let (before, after) = offer.rejected.split_at(offer.audio_index.min(offer.rejected.len()));
    before.iter().for_each(|media| sdp.rejected(media));
    audio(&mut sdp, offer, local);
    after.iter().for_each(|media| sdp.rejected(media));
    sdp.0
}

fn audio(sdp: &mut Lines, offer: &Offer, local: &Local<'_>) {
    let codec = offer.audio.payload_type();
    let Local { address, port, ssrc, cname, .. } = local;
    match offer.telephone_event {
        Some(event) => sdp.line(format_args!("m=audio {port} {} {codec} {}", offer.profile, event.payload_type)),
        None => sdp.line(format_args!("m=audio {port} {} {codec}", offer.profile)),
    }
    let family = if address.is_ipv6() { "IP6" } else { "IP4" };
    sdp.line(format_args!("c=IN {family} {address}"));
    sdp.line(format_args!("a=rtcp:9 IN IP4 0.0.0.0"));
    sdp.line(format_args!("a=candidate:1 1 udp {HOST_CANDIDATE_PRIORITY} {address} {port} typ host"));
    sdp.line(format_args!("a=end-of-candidates"));
    sdp.line(format_args!("a=ice-ufrag:{}", local.ice_ufrag));
    sdp.line(format_args!("a=ice-pwd:{}", local.ice_pwd));
    sdp.line(format_args!("a=fingerprint:sha-256 {}", local.fingerprint));
    sdp.line(format_args!("a=setup:{}", offer.setup.answered().as_str()));
    if let Some(mid) = &offer.mid {
        sdp.line(format_args!("a=mid:{mid}"));
    }
    sdp.line(format_args!("a=sendrecv"));
    sdp.line(format_args!("a=msid:{cname} {cname}-audio"));
    if offer.rtcp_mux {
        sdp.line(format_args!("a=rtcp-mux"));
    }
    sdp.line(format_args!("a=rtpmap:{codec} {}", offer.audio.encoding()));
    if let AudioOffer::Opus(opus) = &offer.audio {
        sdp.line(format_args!("a=fmtp:{codec} {}", mirrored_fmtp(opus.fmtp.as_deref())));
    }
    if let Some(event) = offer.telephone_event {
        sdp.line(format_args!("a=rtpmap:{} telephone-event/{EVENT_CLOCK_HZ}", event.payload_type));
    }
    sdp.line(format_args!("a=ptime:20"));
    sdp.line(format_args!("a=maxptime:{}", offer.maxptime.unwrap_or(20).clamp(20, 120)));
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

/// A text of CRLF lines.
struct Lines(String);

impl Lines {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("writing to a String cannot fail");
        self.0.push_str("\r\n");
    }

    fn rejected(&mut self, media: &RejectedMedia) {
        self.line(format_args!("m={} 0 {} {}", media.kind, media.profile, media.formats));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        if let Some(mid) = &media.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        self.line(format_args!("a=inactive"));
    }
}
