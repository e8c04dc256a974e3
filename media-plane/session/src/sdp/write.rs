//! What an offer and an answer of ours have in common: our side of the call, and lines.

use std::{fmt::Write as _, net::IpAddr};

use super::offer::RejectedMedia;

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

/// A text of CRLF lines.
pub(super) struct Lines(pub(super) String);

impl Lines {
    /// The lines up to the first section. `bundled`: the section that is bundled.
    pub(super) fn beginning(local: &Local<'_>, bundled: Option<&str>) -> Self {
        let mut sdp = Self(String::with_capacity(1_024));
        sdp.line(format_args!("v=0"));
        sdp.line(format_args!("o=- {} 2 IN IP4 127.0.0.1", local.origin_id));
        sdp.line(format_args!("s=-"));
        sdp.line(format_args!("t=0 0"));
        if let Some(mid) = bundled {
            sdp.line(format_args!("a=group:BUNDLE {mid}"));
        }
        sdp.line(format_args!("a=msid-semantic: WMS *"));
        sdp
    }

    /// How our audio section is reached, and who we are.
    pub(super) fn transport(&mut self, local: &Local<'_>) {
        let Local { address, port, .. } = local;
        let family = if address.is_ipv6() { "IP6" } else { "IP4" };
        self.line(format_args!("c=IN {family} {address}"));
        self.line(format_args!("a=rtcp:9 IN IP4 0.0.0.0"));
        self.line(format_args!("a=candidate:1 1 udp {HOST_CANDIDATE_PRIORITY} {address} {port} typ host"));
        self.line(format_args!("a=end-of-candidates"));
        self.line(format_args!("a=ice-ufrag:{}", local.ice_ufrag));
        self.line(format_args!("a=ice-pwd:{}", local.ice_pwd));
        self.line(format_args!("a=fingerprint:sha-256 {}", local.fingerprint));
    }

    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("writing to a String cannot fail");
        self.0.push_str("\r\n");
    }

    pub(super) fn rejected(&mut self, media: &RejectedMedia) {
        self.line(format_args!("m={} 0 {} {}", media.kind, media.profile, media.formats));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        if let Some(mid) = &media.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        self.line(format_args!("a=inactive"));
    }
}
