//! What a verified client certificate says about who comes in: the host it names, or a person's role. Pure: DER in, struct out.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Role;

/// The organizational unit of a certificate that lets a person ask, before the role.
pub const ROLE_UNIT: &str = "why502 ";
/// Names of one certificate that are looked at.
const NAMES_MAX: usize = 32;

/// A client certificate that the handshake has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The hosts it names, exactly as written: no wildcard stands for anything. Empty for a person's.
    hosts: Vec<String>,
    /// A person's role.
    pub role: Option<Role>,
    /// Its first valid second, unix.
    pub not_before_s: i64,
    /// Its last valid second, unix.
    pub not_after_s: i64,
}

impl Certificate {
    /// Reads it. None where it can't be read, and then nobody is let in with it.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        let subject = read.subject();
        let roles = subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok()?.strip_prefix(ROLE_UNIT));
        let role = roles.filter_map(Role::parse).next();
        let alternatives = read.subject_alternative_name().ok()?.map(|found| &found.value.general_names);
        let mut hosts: Vec<String> = alternatives
            .into_iter()
            .flatten()
            .filter_map(|name| if let GeneralName::DNSName(dns) = name { Some((*dns).to_owned()) } else { None })
            .take(NAMES_MAX)
            .collect();
        if hosts.is_empty() {
            hosts.extend(subject.iter_common_name().filter_map(|name| Some(name.as_str().ok()?.to_owned())).take(1));
        }
        if role.is_some() {
            hosts.clear();
        }
        let validity = read.validity();
        Some(Self {
            hosts,
            role,
            not_before_s: validity.not_before.timestamp(),
            not_after_s: validity.not_after.timestamp(),
        })
    }

    /// Whether it is the certificate of that host.
    pub fn is_of(&self, host: &str) -> bool {
        self.hosts.iter().any(|name| name == host)
    }

    /// The one host that it names first.
    pub fn host(&self) -> Option<&str> {
        self.hosts.first().map(String::as_str)
    }
}
