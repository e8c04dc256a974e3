//! Which cryptography TLS uses.

/// Makes ring the provider of every rustls client of this process that names none. Idempotent.
///
/// The WebRTC engine, the WebSocket client and the database's driver bring ring. The HTTP client takes what is installed here
/// and panics when nothing is: whoever makes one calls this first. A second provider would be built for nothing.
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
