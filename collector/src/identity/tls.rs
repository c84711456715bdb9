//! How TLS is spoken with those who come in: ring, a certificate asked for and verified where one is sent. A host that
//! enrols has none yet, so that none is no fault of the handshake; what needs one asks for it at its door.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde::Deserialize;

use super::authority::Own;

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

impl MinVersion {
    fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&TLS13, &TLS12],
            Self::Tls13 => vec![&TLS13],
        }
    }
}

/// Speaks TLS with `own`, and verifies certificates of others against `roots`.
pub fn server_config(
    roots: Vec<CertificateDer<'static>>,
    (chain, key): Own,
    min_version: MinVersion,
) -> Result<Arc<ServerConfig>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let provider = Arc::new(ring::default_provider());
    let mut trusted = RootCertStore::empty();
    for root in roots {
        trusted.add(root).map_err(|error| format!("a root of the CA: {error}"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| told(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&min_version.versions())
        .map_err(|error| told(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| format!("the collector's certificate: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would carry a certificate past its end and past a changed root.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Reads a private key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The machine's own name.
pub fn machine_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| super::is_host_name(name))
}

/// The names and addresses under which this machine may be reached, and `further` ones.
pub fn own_names(further: &[String]) -> Vec<String> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|found| {
        let address = found.address?;
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().to_string());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().to_string()))
    });
    let is_name = |name: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
        !name.is_empty() && name.bytes().all(plain)
    };
    let mut names: Vec<String> = further.to_vec();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.extend(machine_name().into_iter().chain(interfaces).filter(is_name));
    names.sort();
    names.dedup();
    names
}
