//! The lint of an offer: rules with names, the first fatal one stops the call, the others warn.
//!
//! Fatal are only the things without which no call can come about. Everything else a real caller may get away with.

use super::{
    finding::{SdpError, Warnings, fatal},
    media,
    negotiated::{DtlsSetup, IceRole, Negotiated},
    offer::{Offer, RejectedMedia},
    text::{Text, line_ends_are_bare},
};

const NAME: &str = "offer";

/// Reads an offer and judges it.
///
/// # Errors
/// The first fatal rule it breaks: `too-long`, `escaped-line-ends`, `not-sdp`, `too-many-media-lines`, `no-audio-line`,
/// `audio-disabled`, `not-sendrecv`, `no-ice-ufrag`, `no-ice-pwd`, `no-sha256-fingerprint`, `bad-fingerprint`,
/// `no-known-codec`.
pub fn lint(offer: &str) -> Result<Offer, SdpError> {
    let mut warnings = Warnings::default();
    if line_ends_are_bare(offer) {
        warnings.add("lf-line-ends");
    }
    let text = Text::parse(NAME, offer)?;
    let Some((audio_index, audio)) =
        text.media.iter().enumerate().find(|(_, media)| media.kind.eq_ignore_ascii_case("audio"))
    else {
        return fatal("no-audio-line", "the offer has no m=audio line; voicebridge carries audio only");
    };
    if audio.port == "0" && !audio.has_flag("bundle-only") {
        return fatal("audio-disabled", "the m=audio line has port 0, which offers no audio");
    }
    if text.media.len() > 1 {
        warnings.add("several-media-lines");
    }
    if !audio.profile.eq_ignore_ascii_case("UDP/TLS/RTP/SAVPF") {
        warnings.add("unusual-profile");
    }
    let setup = match media::of_either(&text, audio, "setup") {
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
    let facts = media::read(NAME, &text, audio, &mut warnings)?;
    let rtcp_mux = facts.rtcp_mux;
    // A lite end never controls; of two full ones the offerer does (RFC 8445, section 6.1.1).
    let ice_role = if facts.ice_lite { IceRole::Controlling } else { IceRole::Controlled };
    Ok(Offer {
        negotiated: Negotiated::new(facts, ice_role, setup.answered().role(), warnings),
        mid,
        setup,
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
    })
}
