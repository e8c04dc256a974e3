//! DTLS with one far end (RFC 5763, RFC 5764), on the endpoint of `rtc`: proves by its certificate that it is who signalling
//! said, and gives the keys of SRTP.
//!
//! There is one association; where its datagrams go is for ICE to say, so the endpoint only knows a placeholder.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use rtc::{
    crypto::{HashAlgorithm, RTCCryptoProvider, SignatureScheme},
    dtls::{
        config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig, VerifyPeerCertificateFn},
        crypto::Certificate,
        endpoint::{Endpoint, EndpointEvent},
        extension::extension_use_srtp::SrtpProtectionProfile,
        state::State,
    },
    peer_connection::certificate::{CertificateParams, RTCCertificate},
    shared::{TransportProtocol, error::Error},
    srtp::{config::Config as SrtpConfig, config::LABEL_EXTRACTOR_DTLS_SRTP, protection_profile::ProtectionProfile},
};

use voicebridge_session::sdp::DtlsRole;

use super::refused;
use crate::peer::PeerError;

/// Both ends of the association, as the endpoint knows them.
const PLACEHOLDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 65_535);

/// What came of it.
pub(super) enum DtlsEvent {
    /// The far end is who it should be; packets are protected with these keys.
    Connected(Box<SrtpConfig>),
    /// The far end said good-bye.
    Closed,
}

/// Our side of every handshake of a call.
pub(super) struct Identity {
    certificate: Certificate,
    fingerprint: String,
}

impl Identity {
    /// A new one: ECDSA P-256, whose handshake needs no fragments.
    pub(super) fn generate(crypto: &Arc<dyn RTCCryptoProvider>) -> Result<Self, PeerError> {
        let params = CertificateParams::new(vec!["voicebridge".to_owned()]).map_err(refused("certificate name"))?;
        let certificate = RTCCertificate::generate(crypto.crypto(), SignatureScheme::EcdsaP256Sha256, params)
            .map_err(refused("certificate"))?
            .dtls_certificate;
        let der = certificate.certificate.first().expect("a generated certificate is there");
        let fingerprint = fingerprint(crypto, der).map_err(refused("certificate"))?;
        Ok(Self { certificate, fingerprint })
    }

    /// SHA-256 of the certificate, upper-case hex pairs with colons.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// See the module.
pub(super) struct Dtls {
    endpoint: Endpoint,
    /// As client, until it has spoken.
    client: Option<Arc<HandshakeConfig>>,
}

impl Dtls {
    /// An association that waits. The far end's certificate must have one of these SHA-256 fingerprints (RFC 8122,
    /// section 5).
    pub(super) fn new(
        crypto: &Arc<dyn RTCCryptoProvider>,
        identity: &Identity,
        role: DtlsRole,
        fingerprints: &[String],
    ) -> Result<Self, PeerError> {
        let config = ConfigBuilder::default()
            .with_crypto_provider(crypto.clone())
            .with_certificates(vec![identity.certificate.clone()])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
            ])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Certificates are self-signed: the fingerprint of the offer is what vouches for them.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(verify(crypto, fingerprints)))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(role == DtlsRole::Client, None)
            .map_err(refused("DTLS settings"))?;
        let config = Arc::new(config);
        let (client, server) = match role {
            DtlsRole::Client => (Some(config), None),
            DtlsRole::Server => (None, Some(config)),
        };
        Ok(Self { endpoint: Endpoint::new(PLACEHOLDER, TransportProtocol::UDP, server), client })
    }

    /// There is a way to the far end: as client it says hello, once.
    pub(super) fn start(&mut self, now: Instant) -> Result<(), Error> {
        match self.client.take() {
            Some(config) => self.endpoint.connect(now, PLACEHOLDER, config, None),
            None => Ok(()),
        }
    }

    /// Takes a datagram of the far end.
    pub(super) fn read(&mut self, now: Instant, bytes: &[u8]) -> Result<Option<DtlsEvent>, Error> {
        let mut told = None;
        for event in self.endpoint.read(now, PLACEHOLDER, None, BytesMut::from(bytes))? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let state = self.endpoint.get_connection_state(PLACEHOLDER).ok_or(Error::ErrConnClosed)?;
                    told = Some(DtlsEvent::Connected(Box::new(keys(state)?)));
                }
                EndpointEvent::PeerClosed => told = Some(DtlsEvent::Closed),
                _ => {}
            }
        }
        Ok(told)
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Instant) -> Result<(), Error> {
        match self.endpoint.poll_timeout(&PLACEHOLDER) {
            Some(due) if due <= now => self.endpoint.handle_timeout(PLACEHOLDER, now),
            _ => Ok(()),
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        Some(self.endpoint.poll_transmit()?.message.freeze())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PLACEHOLDER)
    }

    /// Says good-bye.
    pub(super) fn close(&mut self, now: Instant) -> Result<(), Error> {
        self.endpoint.close(now)
    }
}

fn verify(crypto: &Arc<dyn RTCCryptoProvider>, fingerprints: &[String]) -> VerifyPeerCertificateFn {
    let (crypto, fingerprints) = (crypto.clone(), fingerprints.to_vec());
    Arc::new(move |certificates, _| {
        let certificate = certificates.first().ok_or(Error::ErrNonCertificate)?;
        let presented = fingerprint(&crypto, certificate)?;
        let known = fingerprints.iter().any(|offered| offered.eq_ignore_ascii_case(&presented));
        if known { Ok(()) } else { Err(Error::ErrNoMatchingCertificateFingerprint) }
    })
}

fn fingerprint(crypto: &Arc<dyn RTCCryptoProvider>, der: &[u8]) -> Result<String, Error> {
    let hash = crypto.crypto().hash(HashAlgorithm::Sha256, der).map_err(|error| Error::Crypto(error.to_string()))?;
    Ok(hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
}

/// RFC 5764, section 4.2.
fn keys(state: &State) -> Result<SrtpConfig, Error> {
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        _ => return Err(Error::ErrNoSuchSrtpProfile),
    };
    let mut config = SrtpConfig { profile, ..SrtpConfig::default() };
    let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
    config.set_session_keys_from_keying_material(material.as_ref(), state.is_client())?;
    Ok(config)
}
