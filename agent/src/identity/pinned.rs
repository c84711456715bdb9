//! Trust before there are roots: a collector's certificate is good if the root behind it is the one whose hash an administrator
//! passed on.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The SHA-256 of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// From 64 hexadecimal digits; colons and "sha256:" before them are passed over.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad =
            || format!("\"{}\" is no pin: 64 hexadecimal digits, as why502 ca pin prints them", text.escape_debug());
        let digits = text.trim().trim_start_matches("sha256:").chars().filter(|c| *c != ':');
        let digits: Vec<u8> =
            digits.map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>().ok_or_else(bad)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        if rest.is_empty() { bytes.try_into().map(Self).map_err(|_| bad()) } else { Err(bad()) }
    }

    fn is_of(&self, der: &CertificateDer<'_>) -> bool {
        digest(&SHA256, der).as_ref() == self.0
    }
}

/// Verifies against a pin.
#[derive(Debug)]
pub struct Pinned {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Trusts the root of this pin alone.
    pub fn new(pin: Pin) -> Self {
        Self { pin, provider: Arc::new(provider::default_provider()) }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates.iter().find(|der| self.pin.is_of(der)).ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_openssl_and_as_the_collector_write_them() {
        let digits = "ab".repeat(32);
        let pin = Pin::parse(&digits).unwrap();
        let colons = ["AB"; 32].join(":");
        assert_eq!(Pin::parse(&colons), Ok(pin));
        assert_eq!(Pin::parse(&format!(" sha256:{digits}\n")), Ok(pin));
        for bad in ["", "ab", &"xy".repeat(32), &"ab".repeat(33), &format!("{digits}a")] {
            assert!(Pin::parse(bad).unwrap_err().contains("64 hexadecimal digits"), "{bad}");
        }
    }
}
