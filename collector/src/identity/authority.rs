//! The collector's own small CA: one root that signs, and during a rotation the root before it, which is still trusted and
//! still signs the collector's own certificate until every host knows the new one. It lies in the identity's folder; its
//! keys never leave it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use super::certificate::ROLE_UNIT;
use super::registry::hex;
use super::{Role, files};

/// How long a root is good.
const ROOT_DAYS: i64 = 3_650;
/// How long the collector's own certificate is good; it is made anew at two thirds of that.
pub const OWN_DAYS: i64 = 30;
/// The collector's certificate and its roots begin so long ago: hosts' clocks may be behind.
const BACKDATED: Duration = Duration::days(1);
/// Where a certificate ends in PEM.
const PEM_END: &str = "-----END CERTIFICATE-----";
/// Length of an uncompressed point of P-256.
const POINT_BYTES: usize = 65;

/// A host's public key: an uncompressed point of P-256.
pub struct HostKey(Vec<u8>);

impl HostKey {
    /// Takes the point; None where it can't be one.
    pub fn new(point: Vec<u8>) -> Option<Self> {
        (point.len() == POINT_BYTES && point.first() == Some(&4)).then_some(Self(point))
    }

    /// The point's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PublicKeyData for HostKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

struct Root {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// The CA.
pub struct Authority {
    current: Root,
    /// The root before, while both are trusted.
    old: Option<Root>,
    roots_pem: String,
}

/// A certificate chain and its key.
pub type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    /// Refuses a folder that holds a CA, or a half of one: a key without its root may have signed half a fleet.
    pub fn must_be_none(dir: &Path) -> Result<(), String> {
        match (dir.join(files::ROOTS).exists(), dir.join(files::ROOT_KEY).exists()) {
            (false, false) => Ok(()),
            (true, _) => Err(format!("{} holds a CA already", dir.display())),
            (false, true) => Err(format!(
                "{} holds {} without {}: put that back, or remove the key to begin anew",
                dir.display(),
                files::ROOT_KEY,
                files::ROOTS
            )),
        }
    }

    /// Makes the first root in a folder that has none.
    pub fn create(dir: &Path) -> Result<(), String> {
        Self::must_be_none(dir)?;
        let (pem, key) = new_root()?;
        write(dir, files::ROOT_KEY, &key)?;
        write(dir, files::ROOTS, &pem)
    }

    /// Makes a new root that signs hosts' certificates from now on; the old one stays trusted.
    pub fn rotate(dir: &Path) -> Result<(), String> {
        let old_pem = files::read(&dir.join(files::ROOTS))?;
        let old_roots = certificates(&old_pem)?;
        if old_roots.len() > 1 {
            return Err("two roots are trusted already: end that rotation first with why502 ca retire".to_owned());
        }
        let key = files::read(&dir.join(files::ROOT_KEY))?;
        // A rotation that broke off has left a key that no root was made for, and the right one beside it already.
        if KeyPair::from_pem(&key).is_ok_and(|key| holds_key(&old_roots[0], &key)) {
            write(dir, files::OLD_ROOT_KEY, &key)?;
        }
        let (pem, key) = new_root()?;
        write(dir, files::ROOT_KEY, &key)?;
        write(dir, files::ROOTS, &format!("{pem}{old_pem}"))
    }

    /// Ends a rotation: the old root is not trusted any more.
    pub fn retire(dir: &Path) -> Result<(), String> {
        let roots = files::read(&dir.join(files::ROOTS))?;
        let first = roots.find(PEM_END).map(|at| at + PEM_END.len()).unwrap_or_default();
        let (current, old) = roots.split_at(first);
        if certificates(old).is_err() {
            return Err("one root is trusted: there is none to retire".to_owned());
        }
        write(dir, files::ROOTS, &format!("{current}\n"))?;
        let old = dir.join(files::OLD_ROOT_KEY);
        fs::remove_file(&old).map_err(|error| format!("{}: {error}", old.display()))
    }

    /// Reads the CA of a folder; None where there is none.
    pub fn load(dir: &Path) -> Result<Option<Self>, String> {
        if !dir.join(files::ROOT_KEY).exists() {
            return Ok(None);
        }
        let roots_pem = files::read(&dir.join(files::ROOTS))?;
        let roots = certificates(&roots_pem)?;
        let mut fitting = Vec::new();
        for path in [dir.join(files::ROOT_KEY), dir.join(files::OLD_ROOT_KEY)].into_iter().filter(|path| path.exists())
        {
            let key =
                KeyPair::from_pem(&files::read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
            if let Some(der) = roots.iter().find(|der| holds_key(der, &key)) {
                let issuer = Issuer::from_ca_cert_der(der, key).map_err(|error| error.to_string())?;
                fitting.push(Root { der: der.clone(), issuer });
            }
        }
        let mut fitting = fitting.into_iter();
        let no_key = || format!("{}: no key beside it fits a root in it", dir.join(files::ROOTS).display());
        let (current, old) = (fitting.next().ok_or_else(no_key)?, fitting.next());
        Ok(Some(Self { current, old, roots_pem }))
    }

    /// The roots that hosts should trust, PEM.
    pub fn roots_pem(&self) -> &str {
        &self.roots_pem
    }

    /// What hosts that enrol now pin: of the root that signs the collector's own certificate.
    pub fn pin(&self) -> String {
        pin(&self.signs_own().der)
    }

    fn signs_own(&self) -> &Root {
        self.old.as_ref().unwrap_or(&self.current)
    }

    /// Signs a host's certificate, PEM, good from `from_s` on.
    pub fn host(&self, host: &str, key: &HostKey, from_s: i64, life: std::time::Duration) -> Result<String, String> {
        let mut params = named(host, [ExtendedKeyUsagePurpose::ClientAuth])?;
        params.subject_alt_names = vec![SanType::DnsName(host.try_into().map_err(|_| "the name is no host's name")?)];
        params.not_before = moment(from_s)?;
        params.not_after = params.not_before + Duration::try_from(life).map_err(|error| error.to_string())?;
        let signed = params.signed_by(key, &self.current.issuer).map_err(|error| error.to_string())?;
        Ok(signed.pem())
    }

    /// Makes a person's key and certificate, both PEM.
    pub fn person(&self, name: &str, role: Role, now_s: i64, days: i64) -> Result<(String, String), String> {
        let mut params = named(name, [ExtendedKeyUsagePurpose::ClientAuth])?;
        params.distinguished_name.push(DnType::OrganizationalUnitName, format!("{ROLE_UNIT}{}", role.id()));
        params.not_before = moment(now_s)?;
        params.not_after = params.not_before + Duration::days(days);
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let signed = params.signed_by(&key, &self.current.issuer).map_err(|error| error.to_string())?;
        Ok((signed.pem(), key.serialize_pem()))
    }

    /// Makes the collector's own certificate for these names and addresses, with its root behind it.
    pub fn own(&self, names: &[String], now_s: i64) -> Result<Own, String> {
        let mut params = named("why502", [ExtendedKeyUsagePurpose::ServerAuth])?;
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(|_| format!("{name:?} is no name"))?),
            });
        }
        params.not_before = moment(now_s)? - BACKDATED;
        params.not_after = moment(now_s)? + Duration::days(OWN_DAYS);
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let root = self.signs_own();
        let signed = params.signed_by(&key, &root.issuer).map_err(|error| error.to_string())?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok((vec![signed.der().clone(), root.der.clone()], key))
    }
}

/// SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` tells it, without its colons.
pub fn pin(der: &CertificateDer<'_>) -> String {
    hex(digest(&SHA256, der).as_ref())
}

/// The certificates of a PEM text, at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(found) }
}

fn holds_key(der: &CertificateDer<'_>, key: &KeyPair) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(der).is_ok_and(|(_, read)| read.public_key().raw == key.subject_public_key_info())
}

fn new_root() -> Result<(String, String), String> {
    let now = OffsetDateTime::now_utc();
    let mut params = named(&format!("why502 CA {}", hex(&random::<4>()?)), [])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = false;
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(ROOT_DAYS);
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let root = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok((root.pem(), key.serialize_pem()))
}

fn named<const N: usize>(name: &str, usages: [ExtendedKeyUsagePurpose; N]) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    Ok(params)
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the kernel gives no random bytes".to_owned())?;
    Ok(bytes)
}

fn moment(unix_s: i64) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(unix_s).map_err(|error| error.to_string())
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = dir.join(name);
    files::replace(&path, text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
}
