//! Our offer, and what comes back.

use super::*;

/// What Meta answers to a business's offer, with made-up values.
const META_ANSWER: &str = "v=0
o=- 1790000000001 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE audio
a=ice-lite
m=audio 3480 UDP/TLS/RTP/SAVPF 111 126
c=IN IP4 192.0.2.10
a=candidate:1111111111 1 udp 2122260223 192.0.2.10 3480 typ host
a=ice-ufrag:AbCdEfGhIjKlMnOp
a=ice-pwd:AAAAAAAAAAAAAAAAAAAAAA==
a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF
a=setup:active
a=mid:audio
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1
a=rtpmap:126 telephone-event/8000
a=maxptime:20
a=ptime:20
a=ssrc:1234567890 cname:WhatsAppAudioStream1
";

#[test]
fn our_offer_says_what_we_speak_and_leaves_the_roles_open() {
    let expected = "v=0
o=- 4242424242 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE audio
a=msid-semantic: WMS *
m=audio 40000 UDP/TLS/RTP/SAVPF 111 0 8 126
c=IN IP4 203.0.113.7
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2130706431 203.0.113.7 40000 typ host
a=end-of-candidates
a=ice-ufrag:Qw3r
a=ice-pwd:0123456789abcdefghijklmn
a=fingerprint:sha-256 FF:EE:DD
a=setup:actpass
a=mid:audio
a=sendrecv
a=msid:bridge bridge-audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:126 telephone-event/8000
a=ptime:20
a=maxptime:20
a=ssrc:330000001 cname:bridge
";
    assert_eq!(offer(&local()).sdp(), crlf(expected));
}

#[test]
fn an_answer_to_our_offer_agrees_on_one_codec_and_on_the_roles() {
    let read = |answer: &str| read_answer(&offer(&local()), &crlf(answer)).unwrap();
    let negotiated = read(META_ANSWER);
    assert_eq!(negotiated.warnings, [""; 0]);
    assert_eq!((negotiated.ice_role, negotiated.dtls_role), (IceRole::Controlling, DtlsRole::Server));
    assert_eq!(negotiated.ice_pwd, "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(negotiated.candidates, ["192.0.2.10:3480".parse().unwrap()]);
    assert_eq!((negotiated.audio.payload_type(), negotiated.audio.encoding()), (111, "opus/48000/2"));
    assert_eq!(negotiated.telephone_event, Some(TelephoneEvent { payload_type: 126 }));
    // A full end answers: we control all the same, for we offered.
    let full = read(&META_ANSWER.replace("a=ice-lite\n", "").replace("setup:active", "setup:passive"));
    assert_eq!((full.ice_role, full.dtls_role), (IceRole::Controlling, DtlsRole::Client));
    for (payload_type, encoding) in [(0, "PCMU/8000"), (8, "PCMA/8000")] {
        let answer = META_ANSWER.replace("SAVPF 111 126", &format!("SAVPF {payload_type}"));
        let audio = read(&answer).audio;
        assert_eq!((audio.payload_type(), audio.encoding()), (payload_type, encoding));
    }
}

#[test]
fn an_answer_that_does_not_answer_our_offer_is_refused_by_name() {
    let check = |answer: &str, rule: &str| {
        assert_eq!(read_answer(&offer(&local()), answer).unwrap_err().rule, rule, "{answer}");
    };
    let changed = |from: &str, to: &str| {
        let answer = META_ANSWER.replace(from, to);
        assert_ne!(answer, META_ANSWER, "{from:?}");
        crlf(&answer)
    };
    check("", "not-sdp");
    check(&META_ANSWER.replace('\n', r"\r\n"), "escaped-line-ends");
    check(&format!("v=0\r\n{}", "a=x\r\n".repeat(20_000)), "too-long");
    check(&format!("v=0\r\n{}", "m=audio 9 X 1\r\n".repeat(40)), "too-many-media-lines");
    check("v=0\r\ns=-\r\n", "media-lines-differ");
    check(&format!("{}m=video 0 UDP/TLS/RTP/SAVPF 96\r\n", crlf(META_ANSWER)), "media-lines-differ");
    check(&changed("m=audio", "m=video"), "media-lines-differ");
    check(&changed("m=audio 3480", "m=audio 0"), "audio-rejected");
    check(&changed("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "profile-differs");
    check(&changed("a=mid:audio", "a=mid:0"), "mid-differs");
    for setup in ["actpass", "holdconn"] {
        check(&changed("setup:active", &format!("setup:{setup}")), "setup-not-answered");
    }
    for direction in ["sendonly", "recvonly", "inactive"] {
        check(&changed("a=sendrecv", &format!("a={direction}")), "not-sendrecv");
    }
    check(&without(META_ANSWER, &["a=ice-ufrag"]), "no-ice-ufrag");
    check(&without(META_ANSWER, &["a=ice-pwd"]), "no-ice-pwd");
    check(&without(META_ANSWER, &["a=fingerprint"]), "no-sha256-fingerprint");
    check(&changed("sha-256 00:11", "sha-256 00:1"), "bad-fingerprint");
    check(&changed("opus/48000/2", "G722/8000"), "no-known-codec");
    // Codecs of ours, but not as offered: under another number, or one number for another codec.
    check(&changed("111", "96"), "payload-type-not-offered");
    check(&changed("111 opus/48000/2", "111 PCMU/8000"), "payload-type-not-offered");
    check(&changed("SAVPF 111 126", "SAVPF 96\na=rtpmap:96 PCMA/8000"), "payload-type-not-offered");
}

#[test]
fn lesser_findings_in_an_answer_warn() {
    let check = |answer: &str, warning: &str| {
        let negotiated = read_answer(&offer(&local()), answer).unwrap();
        assert!(negotiated.warnings.contains(&warning), "{warning}: {:?}", negotiated.warnings);
        negotiated
    };
    check(META_ANSWER, "lf-line-ends");
    check(&without(META_ANSWER, &["a=mid"]), "no-mid");
    check(&without(META_ANSWER, &["a=rtcp-mux"]), "no-rtcp-mux");
    check(&without(META_ANSWER, &["a=candidate"]), "no-candidates");
    // RFC 4145, section 4: passive.
    assert_eq!(check(&without(META_ANSWER, &["a=setup"]), "no-setup").dtls_role, DtlsRole::Client);
    let other = crlf(&META_ANSWER.replace("126", "101"));
    assert_eq!(check(&other, "telephone-event-not-offered").telephone_event, None);
}

#[test]
fn garbage_for_an_answer_is_refused_and_never_panics() {
    let (ours, whole) = (offer(&local()), crlf(META_ANSWER));
    for end in 0..whole.len() {
        let _ = read_answer(&ours, &whole[..end]);
    }
    for odd in
        ["v=0\r\nm=\r\n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF\r\na=:\r\na=rtpmap:\r\na=setup:active\r\n", "\u{e9}"]
    {
        assert!(read_answer(&ours, odd).is_err(), "{odd}");
    }
}
