//! A TLS handshake that looks at the certificate whether it is trusted or not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio_rustls::TlsConnector;

use super::Stream;
use super::certificate::Certificate;
use super::wire::{Noted, Seen};
use crate::gateway::Signal;

/// Where the distributions keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
/// Most bytes of a CA file.
const ROOTS_LIMIT_BYTES: u64 = 8 << 20;

/// How to speak TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsAsk {
    /// Refuse a certificate that is not trusted or not for `name`.
    pub verify: bool,
    /// Refuse none for its name: HAProxy and Envoy ask for names only where they are told to.
    pub any_name: bool,
    /// The CA file to trust. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must bear: a DNS name or an IP address.
    pub name: String,
    /// Tell the server that name (SNI).
    pub send_name: bool,
    /// Versions as a gateway writes them ("TLSv1.2 TLSv1.3"). Empty: all that are sound.
    pub protocols: String,
}

/// A connection under TLS.
pub struct Secured {
    /// The connection.
    pub stream: Stream,
    /// The server's certificate.
    pub certificate: Option<Certificate>,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoHandshake {
    /// What a gateway would call it.
    pub signal: Signal,
    /// In words.
    pub says: String,
    /// The server's certificate, where it sent one.
    pub certificate: Option<Certificate>,
    /// The server answered in plain HTTP.
    pub plain_answer: bool,
}

/// Speaks TLS over a connection.
pub async fn handshake(stream: Stream, ask: &TlsAsk, limit: Duration) -> Result<Secured, NoHandshake> {
    let refused =
        |says: String| NoHandshake { signal: Signal::TlsHandshake, says, certificate: None, plain_answer: false };
    let recorder = Arc::new(Recorder::new(ask).map_err(refused)?);
    let mut config = ClientConfig::builder_with_provider(recorder.provider.clone())
        .with_protocol_versions(&versions(&ask.protocols))
        .map_err(|error| refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone())
        .with_no_client_auth();
    config.enable_sni = ask.send_name;
    let name =
        ServerName::try_from(ask.name.clone()).map_err(|_| refused(format!("no name to verify: {:?}", ask.name)))?;
    let (io, notes) = Noted::new(stream);
    let shaken = tokio::time::timeout(limit, TlsConnector::from(Arc::new(config)).connect(name, io)).await;
    let certificate = recorder.certificate();
    match shaken {
        Ok(Ok(stream)) => Ok(Secured { stream: Box::new(stream), certificate }),
        Ok(Err(error)) => {
            let seen = notes.seen();
            let signal = if recorder.refused() { Signal::TlsVerify } else { Signal::TlsHandshake };
            Err(NoHandshake { signal, says: says(&seen, &error), certificate, plain_answer: seen.is_http() })
        }
        Err(_) => Err(NoHandshake { certificate, ..refused(format!("no handshake within {limit:?}")) }),
    }
}

fn says(seen: &Seen, error: &std::io::Error) -> String {
    if seen.is_http() { "the server answered in plain HTTP".to_owned() } else { error.to_string() }
}

fn versions(protocols: &str) -> Vec<&'static SupportedProtocolVersion> {
    let named: Vec<&'static SupportedProtocolVersion> =
        [("1.3", &rustls::version::TLS13), ("1.2", &rustls::version::TLS12)]
            .into_iter()
            .filter(|(digits, _)| protocols.contains(digits))
            .map(|(_, version)| version)
            .collect();
    if named.is_empty() { rustls::DEFAULT_VERSIONS.to_vec() } else { named }
}

/// Looks at the server's certificate, and verifies it where that is asked for.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    roots: Arc<RootCertStore>,
    any_name: bool,
    seen: Mutex<(Option<Certificate>, bool)>,
}

impl Recorder {
    fn new(ask: &TlsAsk) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(if ask.verify { roots(ask.ca_file.as_deref())? } else { RootCertStore::empty() });
        let verifier = match ask.verify {
            true => {
                let roots = roots.clone();
                let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(built.map_err(|error| error.to_string())?)
            }
            false => None,
        };
        Ok(Self { provider, verifier, roots, any_name: ask.any_name, seen: Mutex::default() })
    }

    /// What the libraries of gateways accept and the verifier here does not: a trusted certificate that signed itself, though
    /// it may sign others, too; and any name, where the gateway asks for none or the certificate bears none as an alternative
    /// name, for then OpenSSL goes by its common name, which is not judged here.
    fn pardons(&self, error: &Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        let Error::InvalidCertificate(why) = error else { return false };
        let Some(read) = Certificate::parse(certificate) else { return false };
        let nameless = self.any_name || read.names.is_empty();
        match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => nameless,
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
                let in_time = (read.not_before_unix_s..=read.not_after_unix_s).contains(&now_s);
                in_time && self.is_root(certificate) && (nameless || bears(certificate, name))
            }
            _ => false,
        }
    }

    /// Whether a certificate is one of those that are trusted by themselves.
    fn is_root(&self, certificate: &CertificateDer<'_>) -> bool {
        let mut own = RootCertStore::empty();
        own.add(certificate.clone().into_owned()).is_ok() && own.roots.iter().all(|own| self.roots.roots.contains(own))
    }

    fn certificate(&self) -> Option<Certificate> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn refused(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Whether a certificate is for a name.
fn bears(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let parsed = ParsedCertificate::try_from(certificate);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

/// The certificates that a file holds, or that the system trusts.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let known = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    let path = file.or(known).ok_or("this system has no file of trusted certificates")?;
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(|error| told(&error))?.len() > ROOTS_LIMIT_BYTES {
        return Err(told(&"too large"));
    }
    let pem = std::fs::read(path).map_err(|error| told(&error))?;
    let mut roots = RootCertStore::empty();
    // One that can't be read leaves the others usable, as OpenSSL does.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if roots.is_empty() { Err(told(&"holds no certificate")) } else { Ok(roots) }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let result = match &self.verifier {
            Some(verifier) => {
                let judged = verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                judged.or_else(|error| {
                    let pardoned = self.pardons(&error, end_entity, server_name, now);
                    if pardoned { Ok(ServerCertVerified::assertion()) } else { Err(error) }
                })
            }
            None => Ok(ServerCertVerified::assertion()),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = (Certificate::parse(end_entity), result.is_err());
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.verifier {
            Some(verifier) => verifier.verify_tls12_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.verifier {
            Some(verifier) => verifier.verify_tls13_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(super) mod tests;
