//! Offers of Meta, browsers and aiortc, and broken ones: what is agreed to, answered and found.

#![allow(clippy::unwrap_used)]

mod our_offer;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

/// Shaped like the offers Meta sends, with made-up values.
const META: &str = "v=0
o=- 1790000000001 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE audio
a=msid-semantic: WMS 11111111-2222-4333-8444-555555555555
a=ice-lite
m=audio 3480 UDP/TLS/RTP/SAVPF 111 126
c=IN IP4 192.0.2.10
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1111111111 1 udp 2122260223 192.0.2.10 3480 typ host generation 0 network-cost 50
a=candidate:2222222222 1 udp 2122262783 2001:db8:f1:131:face:b00c:0:1 3480 typ host generation 0 network-cost 50
a=ice-ufrag:AbCdEfGhIjKlMnOp
a=ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF
a=setup:actpass
a=mid:audio
a=sendrecv
a=msid:11111111-2222-4333-8444-555555555555 WhatsAppTrack1
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1
a=rtpmap:126 telephone-event/8000
a=maxptime:20
a=ptime:20
a=ssrc:1234567890 cname:WhatsAppAudioStream1
";

/// Shaped like a Chromium offer with audio, video and a data channel; the audio comes second.
const CHROMIUM: &str = "v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=ice-ufrag:vide
a=ice-pwd:videovideovideovideovide
a=mid:0
a=sendrecv
a=rtpmap:96 VP8/90000
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Kq3p
a=ice-pwd:0123456789abcdefABCDEF01
a=ice-options:trickle
a=fingerprint:sha-256 FF:EE:DD:CC:BB:AA:99:88:77:66:55:44:33:22:11:00:FF:EE:DD:CC:BB:AA:99:88:77:66:55:44:33:22:11:00
a=setup:actpass
a=mid:1
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1;stereo=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:2
a=sctp-port:5000
";

/// Shaped like an aiortc offer: three fingerprints, its own payload type numbers, no fmtp.
const AIORTC: &str = "v=0
o=- 3990000000 3990000000 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
a=msid-semantic:WMS *
m=audio 40123 UDP/TLS/RTP/SAVPF 96 0 8
c=IN IP4 192.0.2.77
a=sendrecv
a=mid:0
a=msid:a b
a=rtcp:9 IN IP4 0.0.0.0
a=rtcp-mux
a=ssrc:1 cname:x
a=rtpmap:96 opus/48000/2
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=candidate:1 1 udp 2130706431 192.0.2.77 40123 typ host
a=end-of-candidates
a=ice-ufrag:9nZx
a=ice-pwd:ABCDEFGHIJKLMNOPQRSTUV
a=fingerprint:sha-512 00:11
a=fingerprint:sha-256 01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F:20
a=fingerprint:sha-384 00:22
a=setup:actpass
";

fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// The offer without the lines that begin so.
fn without(offer: &str, starts: &[&str]) -> String {
    let kept = offer.lines().filter(|line| !starts.iter().any(|start| line.starts_with(start)));
    crlf(&kept.map(|line| format!("{line}\n")).collect::<String>())
}

fn local() -> Local<'static> {
    Local {
        address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        port: 40_000,
        ice_ufrag: "Qw3r",
        ice_pwd: "0123456789abcdefghijklmn",
        fingerprint: "FF:EE:DD",
        ssrc: 330_000_001,
        cname: "bridge",
        origin_id: 4_242_424_242,
    }
}

fn answered(offer: &str) -> String {
    answer(&lint(&crlf(offer)).unwrap(), &local())
}

#[test]
fn metas_offer_is_read_without_a_finding() {
    let offer = lint(&crlf(META)).unwrap();
    assert_eq!(offer.negotiated.warnings, [""; 0]);
    assert_eq!(offer.mid.as_deref(), Some("audio"));
    assert_eq!(
        (offer.negotiated.ice_ufrag.as_str(), offer.negotiated.ice_pwd.as_str()),
        ("AbCdEfGhIjKlMnOp", "AAAAAAAAAAAAAAAAAAAAAA==")
    );
    let [fingerprint] = &offer.negotiated.fingerprints[..] else { panic!("{:?}", offer.negotiated.fingerprints) };
    assert!(fingerprint.contains("99:AA:BB:CC:DD:EE:FF:00"), "upper case: {fingerprint}");
    assert!(offer.rtcp_mux && offer.bundle);
    assert_eq!((offer.negotiated.ice_role, offer.negotiated.dtls_role), (IceRole::Controlling, DtlsRole::Client));
    assert_eq!(offer.setup, DtlsSetup::Actpass);
    let AudioCodec::Opus(opus) = &offer.negotiated.audio else { panic!("not Opus: {:?}", offer.negotiated.audio) };
    assert_eq!(
        (opus.payload_type, opus.max_average_bitrate, opus.max_playback_rate),
        (111, Some(20_000), Some(16_000))
    );
    assert!(opus.in_band_fec);
    assert_eq!(offer.negotiated.telephone_event, Some(TelephoneEvent { payload_type: 126 }));
    assert_eq!((offer.negotiated.ptime, offer.negotiated.maxptime), (Some(20), Some(20)));
}

#[test]
fn metas_offer_gets_the_answer_it_accepts() {
    let expected = "v=0
o=- 4242424242 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE audio
a=msid-semantic: WMS *
m=audio 40000 UDP/TLS/RTP/SAVPF 111 126
c=IN IP4 203.0.113.7
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2130706431 203.0.113.7 40000 typ host
a=end-of-candidates
a=ice-ufrag:Qw3r
a=ice-pwd:0123456789abcdefghijklmn
a=fingerprint:sha-256 FF:EE:DD
a=setup:active
a=mid:audio
a=sendrecv
a=msid:bridge bridge-audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1
a=rtpmap:126 telephone-event/8000
a=ptime:20
a=maxptime:20
a=ssrc:330000001 cname:bridge
";
    assert_eq!(answered(META), crlf(expected));
}

#[test]
fn a_browsers_offer_is_answered_line_for_line() {
    let offer = lint(&crlf(CHROMIUM)).unwrap();
    assert_eq!(offer.negotiated.warnings, ["several-media-lines", "no-ptime", "no-candidates"]);
    assert_eq!(
        (offer.negotiated.audio.payload_type(), offer.negotiated.telephone_event.unwrap().payload_type),
        (111, 126)
    );
    let answer = answer(&offer, &local());
    let lines: Vec<&str> = answer.split("\r\n").collect();
    let media: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        media,
        [
            "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
            "m=audio 40000 UDP/TLS/RTP/SAVPF 111 126",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ]
    );
    let mids: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("a=mid:")).collect();
    assert_eq!(mids, ["a=mid:0", "a=mid:1", "a=mid:2"]);
    assert!(lines.contains(&"a=group:BUNDLE 1"));
    assert!(lines.contains(&"a=fmtp:111 minptime=10;useinbandfec=1"), "stereo is not promised: {answer}");
    for absent in ["extmap", "transport-cc", "ice-lite", "VP8"] {
        assert!(!answer.contains(absent), "{absent} in {answer}");
    }
}

#[test]
fn aiortcs_offer_is_answered_with_its_numbers() {
    let offer = lint(&crlf(AIORTC)).unwrap();
    assert_eq!(offer.negotiated.warnings, ["several-fingerprints", "no-telephone-event", "no-ptime"]);
    assert!(offer.negotiated.fingerprints.len() == 1 && offer.negotiated.fingerprints[0].starts_with("01:02:03"));
    assert_eq!(offer.negotiated.ice_role, IceRole::Controlled);
    let answer = answer(&offer, &local());
    assert!(answer.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 96\r\n"), "{answer}");
    assert!(answer.contains("a=rtpmap:96 opus/48000/2\r\n"));
    assert!(answer.contains("a=fmtp:96 minptime=10;useinbandfec=1\r\n"));
    assert_eq!(answer.matches("a=fingerprint:").count(), 1);
}

#[test]
fn opus_is_agreed_to_wherever_it_stands_and_g711_by_the_order_of_the_offer() {
    let check = |formats: &str, maps: &[&str], media: &str, map: &str| {
        let maps: String = maps.iter().map(|map| format!("a=rtpmap:{map}\n")).collect();
        let offer = without(META, &["a=rtpmap:111", "a=fmtp"]).replace("\r\n", "\n");
        let offer = offer.replace("SAVPF 111 126", &format!("SAVPF {formats}"));
        let answer = answered(&offer.replace("a=rtpmap:126", &format!("{maps}a=rtpmap:126")));
        let media = format!("m=audio 40000 UDP/TLS/RTP/SAVPF {media}\r\n");
        assert!(answer.contains(&media), "{formats} {maps}: {answer}");
        assert_eq!(answer.matches("a=rtpmap:").count(), 1 + usize::from(media.contains("126")), "{answer}");
        assert!(answer.contains(&format!("a=rtpmap:{map}\r\n")), "{formats} {maps}: {answer}");
        assert_eq!(answer.contains("a=fmtp:"), map.contains("opus"), "{answer}");
        assert!(answer.contains("a=ptime:20\r\n"), "{answer}");
    };
    let all = ["0 PCMU/8000", "8 PCMA/8000", "111 opus/48000/2"];
    check("0 8 111 126", &all, "111 126", "111 opus/48000/2");
    check("111 8 0 126", &all, "111 126", "111 opus/48000/2");
    check("0 8 126", &all, "0 126", "0 PCMU/8000");
    check("8 0 126", &all, "8 126", "8 PCMA/8000");
    check("9 8 0 13 126", &["9 G722/8000", "13 CN/8000"], "8 126", "8 PCMA/8000");
    check("0", &[], "0", "0 PCMU/8000");
    // Maps decide: of a dynamic type, and against the static meaning.
    check("96 126", &["96 pcma/8000/1"], "96 126", "96 PCMA/8000");
    check("0 8 126", &["0 G729/8000"], "8 126", "8 PCMA/8000");
}

#[test]
fn keys_are_agreed_to_at_8_khz_only() {
    let at_48 = META.replace("a=rtpmap:126 telephone-event/8000", "a=rtpmap:126 telephone-event/48000");
    let offer = lint(&crlf(&at_48)).unwrap();
    assert_eq!(
        (offer.negotiated.telephone_event, offer.negotiated.warnings.as_slice()),
        (None, &["telephone-event-clock"][..])
    );
    let text = answer(&offer, &local());
    assert!(text.contains("SAVPF 111\r\n") && !text.contains("telephone-event"), "{text}");
}

#[test]
fn fatal_offers_name_their_rule() {
    let check = |offer: &str, rule: &str| assert_eq!(lint(offer).unwrap_err().rule, rule, "{offer}");
    check("", "not-sdp");
    check("{\"sdp\":\"v=0\"}", "not-sdp");
    check(&format!("v=0\r\n{}", "a=x\r\n".repeat(20_000)), "too-long");
    check(&format!("v=0\r\n{}", "m=audio 9 X 1\r\n".repeat(40)), "too-many-media-lines");
    check(&crlf(&META.replace("m=audio", "m=video")), "no-audio-line");
    check(&crlf(&META.replace("m=audio 3480", "m=audio 0")), "audio-disabled");
    for direction in ["sendonly", "recvonly", "inactive"] {
        check(&crlf(&META.replace("a=sendrecv", &format!("a={direction}"))), "not-sendrecv");
    }
    check(&without(META, &["a=ice-ufrag"]), "no-ice-ufrag");
    check(&without(META, &["a=ice-pwd"]), "no-ice-pwd");
    check(&without(META, &["a=fingerprint"]), "no-sha256-fingerprint");
    check(&crlf(&META.replace("sha-256", "sha-1")), "no-sha256-fingerprint");
    check(&crlf(&META.replace("sha-256 00:11", "sha-256 00:1")), "bad-fingerprint");
    check(&crlf(&META.replace("opus/48000/2", "G722/8000")), "no-known-codec");
    check(&crlf(&META.replace("opus/48000/2", "PCMU/16000")), "no-known-codec");
    check(&crlf(&META.replace("SAVPF 111 126", "SAVPF 126")), "no-known-codec");
    check(&crlf(&META.replace("opus/48000/2", "opus/16000")), "no-known-codec");
    check(&without(META, &["a=rtpmap:111"]), "no-known-codec");
}

#[test]
fn lesser_findings_warn() {
    let check = |offer: &str, warning: &str| {
        let offer = lint(offer).unwrap();
        assert!(offer.negotiated.warnings.contains(&warning), "{warning}: {:?}", offer.negotiated.warnings);
    };
    check(META, "lf-line-ends");
    check(&without(META, &["a=rtcp-mux"]), "no-rtcp-mux");
    check(&without(META, &["a=ptime"]), "no-ptime");
    check(&crlf(&META.replace("a=ptime:20", "a=ptime:60")), "ptime-not-20");
    check(&without(META, &["a=setup"]), "no-setup");
    check(&crlf(&META.replace("setup:actpass", "setup:holdconn")), "unknown-setup");
    check(&without(META, &["a=mid"]), "no-mid");
    check(&without(META, &["a=group"]), "no-bundle");
    check(&crlf(&META.replace("BUNDLE audio", "BUNDLE video")), "no-bundle");
    check(&without(META, &["a=rtpmap:126"]), "no-telephone-event");
    check(&crlf(&META.replace("telephone-event/8000", "telephone-event/48000")), "telephone-event-clock");
    check(&crlf(&META.replace("a=maxptime:20", "a=maxptime:10")), "maxptime-below-20");
    check(&without(META, &["a=candidate"]), "no-candidates");
    check(&crlf(&META.replace("ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==", "ice-pwd:short")), "short-ice-credentials");
    check(&crlf(&META.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")), "unusual-profile");
}

#[test]
fn credentials_direction_and_fingerprint_may_stand_in_the_session_part() {
    let moved = ["a=ice-ufrag:AbCdEfGhIjKlMnOp", "a=ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==", "a=setup:actpass"];
    let fingerprint = META.lines().find(|line| line.starts_with("a=fingerprint")).unwrap();
    let rest = without(META, &["a=ice-ufrag", "a=ice-pwd", "a=setup", "a=fingerprint", "a=sendrecv"]);
    let session = format!("{}\r\n{fingerprint}\r\na=ice-lite\r\n", moved.join("\r\n"));
    let offer = lint(&rest.replace("a=ice-lite\r\n", &session)).unwrap();
    assert_eq!(offer.negotiated.ice_ufrag, "AbCdEfGhIjKlMnOp");
    assert_eq!(offer.negotiated.warnings, [""; 0]);
    let inactive = rest.replace("a=ice-lite\r\n", &format!("{session}a=inactive\r\n"));
    assert_eq!(lint(&inactive).unwrap_err().rule, "not-sendrecv");
}

/// RFC 8839, section 5.3, has it for the session; for the audio it means the same.
#[test]
fn ice_lite_counts_at_either_level() {
    let full = without(META, &["a=ice-lite"]);
    assert_eq!(lint(&full).unwrap().negotiated.ice_role, IceRole::Controlled);
    let of_the_audio = full.replace("a=mid:audio\r\n", "a=mid:audio\r\na=ice-lite\r\n");
    assert_eq!(lint(&of_the_audio).unwrap().negotiated.ice_role, IceRole::Controlling);
}

#[test]
fn candidates_that_udp_can_reach_are_read_once_each_and_are_bounded() {
    let read = |candidates: &str| {
        let offer = without(META, &["a=candidate"]).replace("a=mid:audio\r\n", &format!("a=mid:audio\r\n{candidates}"));
        lint(&offer).unwrap().negotiated.candidates
    };
    let sdp = "a=candidate:1 1 udp 2122260223 192.0.2.10 3480 typ host generation 0 network-cost 50\r\n\
               a=candidate:1 1 UDP 2122260223 192.0.2.10 3480 typ host\r\n\
               a=candidate:2 1 udp 2122262783 2001:db8::1 3480 typ host\r\n\
               a=candidate:3 1 tcp 1518280447 192.0.2.10 9 typ host tcptype active\r\n\
               a=candidate:4 1 udp 2113937151 0b6f7c2e.local 50000 typ host\r\n\
               a=candidate:5 2 udp 2113937151 192.0.2.10 3481 typ host\r\n\
               a=candidate:6 1 udp 1 192.0.2.11 0 typ host\r\n\
               a=candidate:7 1 udp\r\n\
               a=candidate:8 1 udp 1 198.51.100.7 4000 typ srflx raddr 10.0.0.1 rport 5000\r\n";
    let expect = ["192.0.2.10:3480", "[2001:db8::1]:3480", "198.51.100.7:4000"].map(|text| text.parse().unwrap());
    assert_eq!(read(sdp), expect);
    let many: String = (1..200).map(|port| format!("a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n")).collect();
    assert_eq!(read(&many).len(), MAX_CANDIDATES);
}

/// RFC 8122, section 5: several may stand there, of one hash too; which one is right only the certificate tells.
#[test]
fn every_sha256_fingerprint_counts_and_no_other() {
    let line = META.lines().find(|line| line.starts_with("a=fingerprint")).unwrap();
    let digits = ["AB:", "CD:", "EF:"].map(|pair| pair.repeat(32).trim_end_matches(':').to_owned());
    let check = |lines: &[String], expect: &[&String], warning: &str| {
        let lines: String = lines.iter().map(|line| format!("a=fingerprint:{line}\n")).collect();
        let offer = lint(&crlf(&META.replace(&format!("{line}\n"), &lines))).unwrap();
        assert_eq!(offer.negotiated.fingerprints.iter().collect::<Vec<_>>(), expect, "{lines}");
        assert_eq!(offer.negotiated.warnings.contains(&"several-fingerprints"), !warning.is_empty());
        assert!(warning.is_empty() || offer.negotiated.warnings.contains(&warning), "{:?}", offer.negotiated.warnings);
    };
    let [ab, cd, ef] = &digits;
    check(&[format!("SHA-256 {}", ab.to_lowercase())], &[ab], "");
    check(&[format!("sha-1 {ab}"), format!("Sha-256 {cd}"), format!("sha-384 {ef}")], &[cd], "several-fingerprints");
    check(&[format!("sha-256 {ab}"), format!("sha-256 {cd}")], &[ab, cd], "several-fingerprints");
    check(&["sha-256 AB:CD".to_owned(), format!("sha-256 {ef}")], &[ef], "bad-fingerprint");
    let nine: Vec<String> = (0..9).map(|_| format!("sha-256 {ab}")).collect();
    check(&nine, &[ab; MAX_FINGERPRINTS], "too-many-fingerprints");
}

#[test]
fn an_offer_that_was_escaped_twice_is_named_as_such() {
    let check = |offer: &str| {
        let error = lint(offer).unwrap_err();
        assert_eq!(error.rule, "escaped-line-ends", "{offer}");
        assert!(error.message.contains("twice"), "{error}");
    };
    check(&META.replace('\n', r"\r\n"));
    check(&META.replace('\n', r"\n"));
    check(&META.replace('\n', r"\\n"));
    check(&META.replace('\n', "\\r\n"));
    check(&format!("\"{}\"", META.replace('\n', r"\r\n")));
    // A backslash elsewhere is none of that.
    assert!(lint(&crlf(&META.replace("s=-", r"s=a\nb"))).is_ok());
}

#[test]
fn the_dtls_role_follows_the_offer() {
    let check = |offered: &str, answer: &str| {
        let text = answered(&META.replace("setup:actpass", &format!("setup:{offered}")));
        assert!(text.contains(&format!("a=setup:{answer}\r\n")), "{offered}: {text}");
    };
    check("actpass", "active");
    check("passive", "active");
    check("active", "passive");
}

#[test]
fn an_answer_without_mid_bundle_or_mux_promises_none() {
    let text = answered(&without(META, &["a=mid", "a=rtcp-mux"]).replace("\r\n", "\n"));
    for absent in ["a=mid", "a=group", "a=rtcp-mux"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn ipv6_is_announced_as_such() {
    let offer = lint(&crlf(META)).unwrap();
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
    let text = answer(&offer, &Local { address, ..local() });
    assert!(text.contains("c=IN IP6 2001:db8::7\r\n"), "{text}");
    assert!(text.contains("udp 2130706431 2001:db8::7 40000 typ host\r\n"), "{text}");
}

#[test]
fn garbage_is_refused_and_never_panics() {
    let odd = [
        "v=0\r\nm=\r\n",
        "v=0\r\nm=audio\r\n",
        "v=0\r\na=\r\na=:\r\nm=audio x y 999 -1\r\na=rtpmap:\r\na=fmtp:111\r\n",
        "v=0\r\nm=audio 9 P 111\r\na=ice-ufrag:\r\na=ice-pwd:\r\n",
        "v=0\r\nm=audio 9 P 111\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=fingerprint:sha-256\r\n",
    ];
    for offer in odd {
        assert!(lint(offer).is_err(), "{offer}");
    }
    // Every cut of a good offer, at any byte, is judged and not died of.
    let whole = crlf(META);
    for end in 0..whole.len() {
        if let Ok(offer) = lint(&whole[..end]) {
            assert!(answer(&offer, &local()).ends_with("\r\n"));
        }
    }
}
