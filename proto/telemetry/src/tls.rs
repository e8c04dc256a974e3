//! Which cryptography TLS uses.

/// Makes ring the provider of every rustls client of this process that names none. Idempotent.
///
/// The crates of one build switch on two providers between them (ring for the WebRTC engine, aws-lc for the HTTP
/// client); rustls then refuses to choose, and a client that left the choice to it would panic on its first `wss` URL.
pub fn install_tls() {
    // Err: one is installed already, by an earlier call or by the program around us. Its choice stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_names_no_provider_can_be_built() {
        install_tls();
        install_tls();
        let roots = rustls::RootCertStore::empty();
        let _ = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    }
}
