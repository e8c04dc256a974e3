//! What Meta accepts as an SDP answer to its offer, and as an offer of the business's, as a pure check of the text.
//!
//! Rules a live Graph API enforces, and four it does not refuse but punishes with a silent call (`setup:passive`,
//! `ice-lite`, a direction other than sendrecv, a wrong payload type): here these are refused as well, because a
//! simulator that stays silent for 20 s teaches less than one that names the line.

use super::graph_error::{GraphError, SDP_VALIDATION};

/// Longest SDP that is looked at, bytes; answers are about 1 kB.
const MAX_BYTES: usize = 64 * 1024;
/// RFC 8839, section 5.4.
const UFRAG_LENGTH: std::ops::RangeInclusive<usize> = 4..=256;
/// RFC 8839, section 5.4.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 22..=256;

/// What the offer said that the answer must repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered<'a> {
    pub(crate) mid: &'a str,
    pub(crate) codec: u8,
    /// As in `a=rtpmap`.
    pub(crate) encoding: &'a str,
    pub(crate) telephone_event: u8,
}

/// What the relay needs from an accepted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) ice_ufrag: String,
    pub(crate) ice_password: String,
    pub(crate) ssrc: u32,
}

/// Checks `sdp` as an answer to `offered`.
///
/// # Errors
///
/// The refusal Meta would send, with the cause in its details.
pub(crate) fn check(sdp: &str, offered: Offered<'_>) -> Result<Answer, GraphError> {
    examine(sdp, offered, Kind::Answer)
}

/// Checks `sdp` as an offer of the business's to somebody whose relay speaks what `expected` says.
///
/// # Errors
///
/// The refusal Meta would send, with the cause in its details.
pub(crate) fn check_offer(sdp: &str, expected: Offered<'_>) -> Result<Answer, GraphError> {
    examine(sdp, expected, Kind::Offer)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Answer,
    /// May list more codecs than one, and leaves the DTLS role open.
    Offer,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Answer => "an answer",
            Self::Offer => "an offer",
        }
    }

    const fn setup(self) -> &'static str {
        match self {
            Self::Answer => "active",
            Self::Offer => "actpass",
        }
    }
}

fn examine(sdp: &str, offered: Offered<'_>, kind: Kind) -> Result<Answer, GraphError> {
    let lines = split(sdp)?;
    let media_at = skeleton(&lines)?;
    let attributes = Attributes(&lines);
    fingerprint(&attributes)?;
    let (ice_ufrag, ice_password) = credentials(&attributes)?;
    if attributes.all("ice-lite").next().is_some() {
        let name = kind.name();
        return Err(GraphError::invalid(format!("ice-lite is not allowed in {name}: the business runs full ICE")));
    }
    match attributes.single("setup") {
        Ok(setup) if setup == kind.setup() => {}
        Ok(other) => return Err(GraphError::invalid(format!("setup must be {}, not {other}", kind.setup()))),
        Err(count) => return Err(GraphError::invalid(format!("expected one setup attribute, found {count}"))),
    }
    for direction in ["recvonly", "sendonly", "inactive"] {
        if attributes.all(direction).next().is_some() {
            return Err(GraphError::invalid(format!("direction must be sendrecv, not {direction}")));
        }
    }
    if attributes.all("rtcp-mux").next().is_none() {
        return Err(GraphError::invalid("rtcp-mux is missing"));
    }
    bundle(&attributes, offered)?;
    codecs(lines[media_at], &attributes, offered, kind)?;
    let ssrc = ssrc(&attributes)?;
    Ok(Answer { ice_ufrag: ice_ufrag.to_owned(), ice_password: ice_password.to_owned(), ssrc })
}

/// Lines of the text, which must end in CRLF each (RFC 8866, section 5) and be escaped once.
fn split(sdp: &str) -> Result<Vec<&str>, GraphError> {
    if sdp.len() > MAX_BYTES {
        return Err(GraphError::invalid("session.sdp is too long"));
    }
    if sdp.contains("\\r\\n") || sdp.contains("\\n") {
        return Err(GraphError::invalid("SDP line ends are escaped twice"));
    }
    let Some(body) = sdp.strip_suffix("\r\n") else {
        return Err(GraphError::invalid("SDP lines must end with CRLF"));
    };
    let lines: Vec<&str> = body.split("\r\n").collect();
    if lines.iter().any(|line| line.contains(['\r', '\n'])) {
        return Err(GraphError::invalid("SDP lines must end with CRLF"));
    }
    Ok(lines)
}

/// Session lines in their order, then exactly one media section; returns the index of its `m=` line.
fn skeleton(lines: &[&str]) -> Result<usize, GraphError> {
    let invalid = |details: &str| GraphError::new(SDP_VALIDATION, details);
    let begins = |index: usize, prefix: &str| lines.get(index).is_some_and(|line| line.starts_with(prefix));
    let timed = lines.iter().any(|line| line.starts_with("t="));
    if !(begins(0, "v=0") && begins(1, "o=") && begins(2, "s=") && timed) {
        return Err(invalid("SDP must begin with v=, o=, s= and have a t= line"));
    }
    let strange =
        |line: &&&str| line.len() < 2 || line.as_bytes()[1] != b'=' || !line.as_bytes()[0].is_ascii_lowercase();
    if let Some(line) = lines.iter().find(strange) {
        return Err(GraphError::new(SDP_VALIDATION, format!("not an SDP line: {line:?}")));
    }
    let media: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.starts_with("m=")).map(|(index, _)| index).collect();
    let [at] = media[..] else {
        return Err(invalid(&format!("expected one media section, found {}", media.len())));
    };
    if !lines[at].starts_with("m=audio ") {
        return Err(invalid("the media section must be audio"));
    }
    if !lines.iter().any(|line| line.starts_with("c=IN ")) {
        return Err(invalid("connection line c= is missing"));
    }
    Ok(at)
}

fn fingerprint(attributes: &Attributes<'_>) -> Result<(), GraphError> {
    let found: Vec<&str> = attributes.all("fingerprint").collect();
    if found.is_empty() {
        return Err(GraphError::invalid("No fingerprint found in SDP"));
    }
    let sha256 = |value: &&str| value.split(' ').next().is_some_and(|name| name.eq_ignore_ascii_case("sha-256"));
    if !found.iter().all(sha256) {
        return Err(GraphError::invalid("Fingerprint algo is not SHA256"));
    }
    let [only] = found[..] else {
        return Err(GraphError::invalid("Multiple fingerprints found in SDP"));
    };
    let bytes: Vec<&str> = only.split(' ').nth(1).unwrap_or_default().split(':').collect();
    let hex = |byte: &&str| byte.len() == 2 && byte.bytes().all(|c| c.is_ascii_hexdigit());
    if bytes.len() != 32 || !bytes.iter().all(hex) {
        return Err(GraphError::invalid("Fingerprint is not 32 bytes of hex"));
    }
    Ok(())
}

fn credentials<'a>(attributes: &Attributes<'a>) -> Result<(&'a str, &'a str), GraphError> {
    let one = |name: &str, length: std::ops::RangeInclusive<usize>| {
        let value = attributes
            .single(name)
            .map_err(|count| GraphError::invalid(format!("expected one {name} in SDP, found {count}")))?;
        // '=' is no ice-char (RFC 8839) but stands in Meta's own passwords.
        let ice_char = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
        if !length.contains(&value.len()) || !value.bytes().all(ice_char) {
            return Err(GraphError::invalid(format!("{name} is malformed")));
        }
        Ok(value)
    };
    Ok((one("ice-ufrag", UFRAG_LENGTH)?, one("ice-pwd", PASSWORD_LENGTH)?))
}

fn bundle(attributes: &Attributes<'_>, offered: Offered<'_>) -> Result<(), GraphError> {
    if attributes.single("mid") != Ok(offered.mid) {
        return Err(GraphError::new(SDP_VALIDATION, format!("mid must be {}", offered.mid)));
    }
    let bundled =
        |group: &str| group.strip_prefix("BUNDLE").is_some_and(|mids| mids.split(' ').any(|m| m == offered.mid));
    if !attributes.all("group").any(bundled) {
        return Err(GraphError::new(SDP_VALIDATION, format!("group:BUNDLE {} is missing", offered.mid)));
    }
    Ok(())
}

fn codecs(media: &str, attributes: &Attributes<'_>, offered: Offered<'_>, kind: Kind) -> Result<(), GraphError> {
    let mut fields = media.split(' ').skip(1);
    match fields.next().and_then(|port| port.parse::<u16>().ok()) {
        None => return Err(GraphError::new(SDP_VALIDATION, "the media port is not a number")),
        Some(0) => return Err(GraphError::invalid("the audio section is rejected (port 0)")),
        Some(_) => {}
    }
    if fields.next() != Some("UDP/TLS/RTP/SAVPF") {
        return Err(GraphError::invalid("the profile must be UDP/TLS/RTP/SAVPF"));
    }
    let types: Vec<&str> = fields.collect();
    let (codec, event) = (offered.codec.to_string(), offered.telephone_event.to_string());
    let encoding = offered.encoding;
    let other = types.iter().find(|&&t| t != codec && t != event);
    if let (Some(other), Kind::Answer) = (other, kind) {
        return Err(GraphError::invalid(format!("payload type {other} was not offered")));
    }
    if !types.contains(&codec.as_str()) {
        return Err(GraphError::invalid(format!("payload type {codec} ({encoding}) is missing")));
    }
    let mapped = |payload_type: &str| {
        attributes
            .all("rtpmap")
            .find_map(|map| map.strip_prefix(payload_type)?.strip_prefix(' '))
            .map(str::to_lowercase)
    };
    if mapped(&codec) != Some(encoding.to_lowercase()) {
        return Err(GraphError::invalid(format!("rtpmap:{codec} must be {encoding}")));
    }
    if types.contains(&event.as_str()) && mapped(&event).as_deref() != Some("telephone-event/8000") {
        return Err(GraphError::invalid(format!("rtpmap:{event} must be telephone-event/8000")));
    }
    if attributes.all("ptime").any(|ptime| ptime != "20") {
        return Err(GraphError::invalid("ptime must be 20"));
    }
    Ok(())
}

/// One stream, one name: the relay maps all audio to one SSRC, several corrupt it.
fn ssrc(attributes: &Attributes<'_>) -> Result<u32, GraphError> {
    let mut ids: Vec<&str> = attributes.all("ssrc").filter_map(|value| value.split(' ').next()).collect();
    ids.dedup();
    let [id] = ids[..] else {
        return Err(GraphError::invalid(format!("expected one ssrc, found {}", ids.len())));
    };
    let names = attributes.all("ssrc").filter(|value| value.contains(" cname:")).count();
    if names != 1 {
        return Err(GraphError::invalid(format!("expected one cname, found {names}")));
    }
    id.parse().map_err(|_| GraphError::invalid("ssrc is not a number"))
}

/// The `a=` lines, of session and media level alike.
struct Attributes<'a>(&'a [&'a str]);

impl<'a> Attributes<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(move |line| {
            let rest = line.strip_prefix("a=")?.strip_prefix(name)?;
            if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
        })
    }

    /// The value of an attribute that must be there once, or how often it is.
    fn single(&self, name: &str) -> Result<&'a str, usize> {
        let mut found = self.all(name);
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(0),
            (Some(_), Some(_)) => Err(2 + found.count()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OFFERED: Offered<'_> = Offered { mid: "audio", codec: 111, encoding: "opus/48000/2", telephone_event: 126 };
    const PRINT: &str =
        "FF:EE:DD:CC:BB:AA:99:88:77:66:55:44:33:22:11:00:FF:EE:DD:CC:BB:AA:99:88:77:66:55:44:33:22:11:00";

    /// The shape Meta's pages and a live capture agree on.
    fn good() -> String {
        let text = format!(
            "v=0
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
a=fingerprint:sha-256 {PRINT}
a=setup:active
a=mid:audio
a=sendrecv
a=msid:bridge bridge-audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1
a=rtpmap:126 telephone-event/8000
a=ptime:20
a=maxptime:20
a=ssrc:330000001 cname:bridge
"
        );
        text.replace('\n', "\r\n")
    }

    #[test]
    fn the_documented_answer_is_accepted() {
        let answer = check(&good(), OFFERED).unwrap();
        assert_eq!(answer.ice_ufrag, "Qw3r");
        assert_eq!(answer.ice_password, "0123456789abcdefghijklmn");
        assert_eq!(answer.ssrc, 330_000_001);
    }

    #[test]
    fn an_answer_in_g711_fits_an_offer_in_g711_only() {
        let pcma = Offered { codec: 8, encoding: "PCMA/8000", ..OFFERED };
        let answer = good().replace("SAVPF 111", "SAVPF 8").replace("rtpmap:111 opus/48000/2", "rtpmap:8 PCMA/8000");
        assert!(check(&answer, pcma).is_ok());
        assert_eq!(check(&good(), pcma).unwrap_err().details, "payload type 111 was not offered");
        let other_law = answer.replace("PCMA", "PCMU");
        assert_eq!(check(&other_law, pcma).unwrap_err().details, "rtpmap:8 must be PCMA/8000");
    }

    #[test]
    fn lines_meta_does_not_need_may_be_absent_or_different() {
        for (from, to) in [
            ("a=ptime:20\r\na=maxptime:20\r\n", ""),
            ("a=candidate:1 1 udp 2130706431 203.0.113.7 40000 typ host\r\na=end-of-candidates\r\n", ""),
            ("m=audio 40000 UDP/TLS/RTP/SAVPF 111 126", "m=audio 9 UDP/TLS/RTP/SAVPF 111"),
            ("a=fingerprint:sha-256", "a=fingerprint:SHA-256"),
            ("a=sendrecv\r\n", ""),
            ("a=msid:bridge bridge-audio\r\n", ""),
            ("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-fb:111 transport-cc\r\n"),
        ] {
            let sdp = good().replace(from, to);
            assert_ne!(sdp, good(), "{from:?}");
            assert!(check(&sdp, OFFERED).is_ok(), "{from:?} -> {to:?}: {:?}", check(&sdp, OFFERED));
        }
    }

    #[test]
    fn faults_are_refused_by_name() {
        let other_print = format!("a=fingerprint:sha-256 {PRINT}\r\na=fingerprint:sha-384 {PRINT}\r\n");
        let two_prints = format!("a=fingerprint:sha-256 {PRINT}\r\na=fingerprint:sha-256 {PRINT}\r\n");
        let print = format!("a=fingerprint:sha-256 {PRINT}\r\n");
        for (from, to, code, details) in [
            (print.as_str(), "", 100, "No fingerprint found in SDP"),
            (&print, &other_print, 100, "Fingerprint algo is not SHA256"),
            ("a=fingerprint:sha-256", "a=fingerprint:sha-1", 100, "Fingerprint algo is not SHA256"),
            (&print, &two_prints, 100, "Multiple fingerprints found in SDP"),
            ("FF:EE", "FG:EE", 100, "Fingerprint is not 32 bytes of hex"),
            ("\r\n", "\n", 100, "SDP lines must end with CRLF"),
            ("s=-\r\n", "s=-\n", 100, "SDP lines must end with CRLF"),
            ("\r\n", "\\r\\n", 100, "SDP line ends are escaped twice"),
            ("a=ice-ufrag:Qw3r\r\n", "", 100, "expected one ice-ufrag in SDP, found 0"),
            ("a=ice-pwd:0123456789abcdefghijklmn\r\n", "", 100, "expected one ice-pwd in SDP, found 0"),
            ("a=ice-pwd:0123456789abcdefghijklmn", "a=ice-pwd:short", 100, "ice-pwd is malformed"),
            ("a=setup:active", "a=setup:passive", 100, "setup must be active, not passive"),
            ("a=setup:active", "a=setup:actpass", 100, "setup must be active, not actpass"),
            ("a=setup:active\r\n", "", 100, "expected one setup attribute, found 0"),
            (
                "t=0 0\r\n",
                "t=0 0\r\na=ice-lite\r\n",
                100,
                "ice-lite is not allowed in an answer: the business runs full ICE",
            ),
            ("a=sendrecv", "a=recvonly", 100, "direction must be sendrecv, not recvonly"),
            ("a=rtcp-mux\r\n", "", 100, "rtcp-mux is missing"),
            ("a=mid:audio", "a=mid:0", 138_008, "mid must be audio"),
            ("a=group:BUNDLE audio\r\n", "", 138_008, "group:BUNDLE audio is missing"),
            ("SAVPF 111 126", "SAVPF 126", 100, "payload type 111 (opus/48000/2) is missing"),
            ("SAVPF 111 126", "SAVPF 111 0", 100, "payload type 0 was not offered"),
            ("opus/48000/2", "opus/16000/1", 100, "rtpmap:111 must be opus/48000/2"),
            ("telephone-event/8000", "telephone-event/48000", 100, "rtpmap:126 must be telephone-event/8000"),
            ("m=audio 40000", "m=audio 0", 100, "the audio section is rejected (port 0)"),
            ("UDP/TLS/RTP/SAVPF", "RTP/AVP", 100, "the profile must be UDP/TLS/RTP/SAVPF"),
            ("a=ptime:20", "a=ptime:60", 100, "ptime must be 20"),
            ("a=ssrc:330000001 cname:bridge\r\n", "", 100, "expected one ssrc, found 0"),
            (
                "a=ssrc:330000001 cname:bridge\r\n",
                "a=ssrc:330000001 cname:bridge\r\na=ssrc:5 cname:bridge\r\n",
                100,
                "expected one ssrc, found 2",
            ),
            ("a=ssrc:330000001 cname:bridge", "a=ssrc:330000001 msid:a b", 100, "expected one cname, found 0"),
            ("v=0\r\n", "", 138_008, "SDP must begin with v=, o=, s= and have a t= line"),
            ("t=0 0\r\n", "t=0 0\r\nhello\r\n", 138_008, "not an SDP line: \"hello\""),
            ("c=IN IP4 203.0.113.7\r\n", "", 138_008, "connection line c= is missing"),
            (
                "a=ssrc:330000001 cname:bridge\r\n",
                "a=ssrc:330000001 cname:bridge\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
                138_008,
                "expected one media section, found 2",
            ),
        ] {
            let sdp = good().replace(from, to);
            let error = check(&sdp, OFFERED).unwrap_err();
            assert_eq!((error.code, error.details.as_str()), (code, details), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn an_offer_of_the_business_lists_codecs_and_leaves_the_role_open() {
        let offer = good().replace("SAVPF 111 126", "SAVPF 111 0 8 126").replace("setup:active", "setup:actpass");
        assert!(check_offer(&offer, OFFERED).is_ok());
        for (from, to, details) in [
            ("setup:actpass", "setup:active", "setup must be actpass, not active"),
            ("111 0 8 126", "0 8 126", "payload type 111 (opus/48000/2) is missing"),
            ("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", "ice-lite is not allowed in an offer: the business runs full ICE"),
            ("\r\n", "\\r\\n", "SDP line ends are escaped twice"),
        ] {
            assert_eq!(check_offer(&offer.replace(from, to), OFFERED).unwrap_err().details, details);
        }
    }

    #[test]
    fn rubbish_is_refused_without_a_panic() {
        for sdp in ["", "\r\n", "=", "v=0", "é=\r\n", "v=0\r\no=\r\ns=\r\nt=\r\né\r\n", &"x".repeat(100_000)] {
            assert!(check(sdp, OFFERED).is_err(), "{:?}", sdp.get(..8));
        }
    }
}
