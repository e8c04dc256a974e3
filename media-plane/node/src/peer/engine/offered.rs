//! Our side of a call before the far side is known: certificate, credentials, address and stream.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Instant, SystemTime},
};

use rand::RngExt;
use rtc::crypto::{self, RTCCryptoProvider};

use super::{
    Engine, EnginePhase,
    dtls::{Dtls, Identity},
    ice::Ice,
    ntp, refused,
};
use crate::peer::{LocalIdentity, LocalMedia, PeerError, Remote, flight::Flight, reports::Reports, source::Source};

/// RFC 8839, section 5.4: at least 4 characters.
const UFRAG_CHARS: usize = 8;
/// RFC 8839, section 5.4: at least 22 characters.
const PWD_CHARS: usize = 24;

/// Our side, as our offer describes it. Until the answer is there nothing can leave, and what comes is dropped by the
/// socket's owner: a far end repeats its checks.
pub struct Offered {
    crypto: Arc<dyn RTCCryptoProvider>,
    identity: Identity,
    local: LocalIdentity,
    local_media: LocalMedia,
}

impl std::fmt::Debug for Offered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offered").field("local_media", &self.local_media).finish_non_exhaustive()
    }
}

impl Offered {
    pub(super) fn new(local_media: LocalMedia) -> Result<Self, PeerError> {
        let crypto = crypto::default_provider().map_err(refused("crypto provider"))?;
        let identity = Identity::generate(&crypto)?;
        let local = LocalIdentity {
            ice_ufrag: ice_chars(UFRAG_CHARS),
            ice_pwd: ice_chars(PWD_CHARS),
            fingerprint: identity.fingerprint().to_owned(),
            ssrc: local_media.ssrc,
        };
        Ok(Self { crypto, identity, local, local_media })
    }

    /// What the offer says about us.
    #[must_use]
    pub const fn local(&self) -> &LocalIdentity {
        &self.local
    }

    /// The peer towards who answered, held until [`crate::peer::Peer::start`].
    ///
    /// # Errors
    /// [`PeerError::Refused`] when ICE or DTLS take neither the answer's facts nor ours; the source says why.
    pub fn apply_answer(self, now: Instant, remote: &Remote) -> Result<Engine, PeerError> {
        let Self { crypto, identity, local, local_media } = self;
        Ok(Engine {
            ice: Ice::new(now, &crypto, local_media.announced, &local.ice_ufrag, &local.ice_pwd)?,
            dtls: Dtls::new(&crypto, &identity, remote.dtls_role, &remote.fingerprints)?,
            crypto,
            identity,
            remote: remote.clone(),
            local,
            local_media,
            phase: EnginePhase::Held,
            srtp: None,
            selected: None,
            early: Vec::new(),
            connect_by: None,
            dirty: false,
            due: None,
            flight: Flight::default(),
            source: Source::new(remote.codec.rtp_clock_hz()),
            reports: Reports::new(now, ntp(SystemTime::now()), local_media.ssrc, remote.codec.rtp_clock_hz()),
            alive_said: None,
            outputs: VecDeque::new(),
        })
    }
}

/// Random letters and digits, some 5.9 bits each.
fn ice_chars(count: usize) -> String {
    let mut random = rand::rng();
    std::iter::repeat_with(|| char::from(random.sample(rand::distr::Alphanumeric))).take(count).collect()
}
