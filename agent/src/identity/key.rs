//! The host's key: ECDSA on P-256, made here, kept as PKCS #8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// What the proof of a key signs, before the host's name.
const PROOF: &[u8] = b"why502 enrolment\0";
/// Characters of one line of PEM.
const PEM_LINE: usize = 64;

/// A key.
pub struct Key {
    pair: EcdsaKeyPair,
    der: Vec<u8>,
}

impl Key {
    /// Makes one.
    pub fn generate() -> Result<Self, String> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        Self::from_der(der.map_err(|_| "the kernel gives no random bytes")?.as_ref().to_vec())
    }

    /// Reads one that was made before.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        Self::from_der(der.secret_der().to_vec())
    }

    fn from_der(der: Vec<u8>) -> Result<Self, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new());
        Ok(Self { pair: pair.map_err(|error| format!("not a key that enrolment made: {error}"))?, der })
    }

    /// The public half, an uncompressed point.
    pub fn public(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Proves to a collector that this host has the key.
    pub fn proof(&self, host: &str) -> Result<Vec<u8>, String> {
        let signed = self.pair.sign(&SystemRandom::new(), &[PROOF, host.as_bytes()].concat());
        Ok(signed.map_err(|_| "signing failed")?.as_ref().to_vec())
    }

    /// The key as it is kept.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(PEM_LINE.min(rest.len()));
            pem.extend([line, "\n"]);
            rest = after;
        }
        pem + "-----END PRIVATE KEY-----\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_proves_itself() {
        let made = Key::generate().unwrap();
        let read = Key::from_pem(made.pem().as_bytes()).unwrap();
        assert_eq!(read.public(), made.public());
        let proof = read.proof("app-1").unwrap();
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_ASN1, made.public());
        public.verify(b"why502 enrolment\0app-1", &proof).unwrap();
        assert!(public.verify(b"why502 enrolment\0app-2", &proof).is_err());
        assert!(Key::from_pem(b"no key").is_err());
    }
}
