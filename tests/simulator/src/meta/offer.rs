//! The SDP offer of a caller, or the answer of somebody who is called, with the lines and the order of offers captured from live calls.
//!
//! Only the values that belong to the call differ: address, port, ICE credentials, fingerprint, SSRC. The IPv6 candidate
//! has the higher priority, as on the real relay, and answers nobody.

use std::net::Ipv4Addr;

use voicebridge_audio::{codec::Codec, g711::Law};

/// The media section's id.
pub(crate) const MID: &str = "audio";
/// Payload type of a codec: Opus's is Meta's choice, the others are static (RFC 3551, section 6).
pub(crate) const fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::G711(Law::Mu) => 0,
        Codec::G711(Law::A) => 8,
    }
}
/// Its name in `a=rtpmap`.
pub(crate) const fn encoding(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus/48000/2",
        Codec::G711(Law::Mu) => "PCMU/8000",
        Codec::G711(Law::A) => "PCMA/8000",
    }
}
/// Payload type of telephone events (RFC 4733).
pub(crate) const TELEPHONE_EVENT: u8 = 126;
/// Opus parameters of the WhatsApp client: wideband, at most 20 kb/s, forward error correction.
pub(crate) const OPUS_PARAMETERS: &str =
    "maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1";
/// Documentation address (RFC 3849) in the place of the relay's IPv6 host.
const IPV6_CANDIDATE: &str = "2001:db8:f1:131:face:b00c:0:1";

/// What belongs to one call.
#[derive(Clone, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) session_id: u64,
    pub(crate) stream_id: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) ice_ufrag: &'a str,
    pub(crate) ice_password: &'a str,
    /// SHA-256 as `AA:BB:...`.
    pub(crate) fingerprint: &'a str,
    pub(crate) ssrc: u32,
    pub(crate) codec: Codec,
    /// `actpass` in an offer, one of the two roles in an answer.
    pub(crate) setup: &'a str,
}

impl Offer<'_> {
    /// The text, every line ending in CRLF.
    pub(crate) fn text(&self) -> String {
        let Self { session_id, stream_id, address, port, ice_ufrag, ice_password, fingerprint, ssrc, codec, setup } =
            self;
        let payload_type = payload_type(*codec);
        let mut lines = vec![
            "v=0".to_owned(),
            format!("o=- {session_id} 2 IN IP4 127.0.0.1"),
            "s=-".to_owned(),
            "t=0 0".to_owned(),
            format!("a=group:BUNDLE {MID}"),
            format!("a=msid-semantic: WMS {stream_id}"),
            "a=ice-lite".to_owned(),
            format!("m=audio {port} UDP/TLS/RTP/SAVPF {payload_type} {TELEPHONE_EVENT}"),
            format!("c=IN IP4 {address}"),
            "a=rtcp:9 IN IP4 0.0.0.0".to_owned(),
            format!("a=candidate:1111111111 1 udp 2122260223 {address} {port} typ host generation 0 network-cost 50"),
            format!(
                "a=candidate:2222222222 1 udp 2122262783 {IPV6_CANDIDATE} {port} typ host generation 0 network-cost 50"
            ),
            format!("a=ice-ufrag:{ice_ufrag}"),
            format!("a=ice-pwd:{ice_password}"),
            format!("a=fingerprint:sha-256 {fingerprint}"),
            format!("a=setup:{setup}"),
            format!("a=mid:{MID}"),
            "a=sendrecv".to_owned(),
            format!("a=msid:{stream_id} WhatsAppTrack1"),
            "a=rtcp-mux".to_owned(),
            format!("a=rtpmap:{payload_type} {}", encoding(*codec)),
            format!("a=rtcp-fb:{payload_type} transport-cc"),
        ];
        if *codec == Codec::Opus {
            lines.push(format!("a=fmtp:{payload_type} {OPUS_PARAMETERS}"));
        }
        lines.extend([
            format!("a=rtpmap:{TELEPHONE_EVENT} telephone-event/8000"),
            "a=maxptime:20".to_owned(),
            "a=ptime:20".to_owned(),
            format!("a=ssrc:{ssrc} cname:WhatsAppAudioStream1"),
        ]);
        lines.join("\r\n") + "\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(codec: Codec) -> String {
        Offer {
            session_id: 1_790_000_000_001,
            stream_id: "11111111-2222-4333-8444-555555555555",
            address: Ipv4Addr::new(192, 0, 2, 10),
            port: 3480,
            ice_ufrag: "AbCdEfGhIjKlMnOp",
            ice_password: "AAAAAAAAAAAAAAAAAAAAAA==",
            fingerprint: "00:11",
            ssrc: 1_234_567_890,
            codec,
            setup: "actpass",
        }
        .text()
    }

    #[test]
    fn the_offer_has_the_live_shape() {
        let text = offer(Codec::Opus);
        assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']));
        assert_eq!(text.lines().count(), 27);
        for line in [
            "a=ice-lite",
            "m=audio 3480 UDP/TLS/RTP/SAVPF 111 126",
            "a=candidate:1111111111 1 udp 2122260223 192.0.2.10 3480 typ host generation 0 network-cost 50",
            "a=ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==",
            "a=setup:actpass",
            "a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1",
            "a=ssrc:1234567890 cname:WhatsAppAudioStream1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
    }

    #[test]
    fn one_of_g711_takes_the_place_of_opus() {
        for (law, media, map) in [(Law::Mu, "0 126", "0 PCMU/8000"), (Law::A, "8 126", "8 PCMA/8000")] {
            let text = offer(Codec::G711(law));
            assert!(text.contains(&format!("m=audio 3480 UDP/TLS/RTP/SAVPF {media}\r\n")), "{text}");
            assert!(text.contains(&format!("a=rtpmap:{map}\r\n")), "{text}");
            assert!(!text.contains("opus") && !text.contains("fmtp"), "{text}");
        }
    }
}
