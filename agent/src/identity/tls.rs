//! How TLS is spoken with a collector: its certificate must be by a root that is trusted, and the host shows its own.

use std::sync::Arc;

use rustls::ConfigBuilder;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, WantsClientCert};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Identity, Pair, files};
use crate::dial;

/// As the files of an identity are now.
pub fn config(identity: &Identity) -> Result<Arc<ClientConfig>, String> {
    let hint = |why: String| match identity.own {
        true => format!("{why}: enrol this host with why502-agent enroll, or configure ca, cert and key"),
        false => why,
    };
    let roots = dial::roots(identity.ca.as_deref()).map_err(hint)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    finish(builder, identity.pair.as_ref()).map_err(hint)
}

/// Trusting what a verifier trusts, without a certificate.
pub fn config_with(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    finish(builder, None)
}

fn finish(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    pair: Option<&Pair>,
) -> Result<Arc<ClientConfig>, String> {
    let mut config = match pair {
        Some(Pair { cert, key }) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files::read(cert)?).collect();
            let chain = chain.map_err(|error| format!("{}: {error}", cert.display()))?;
            let secret = PrivateKeyDer::from_pem_slice(&files::read(key)?);
            let secret = secret.map_err(|error| format!("{}: {error}", key.display()))?;
            let made = builder.with_client_auth_cert(chain, secret);
            made.map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
