//! Where a connection comes from and what it may: travels with the connection to the services behind the door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::certificate::Certificate;
use super::stay::Stay;
use super::{Identity, Role, now_s};

/// Where a connection comes from.
#[derive(Clone)]
pub struct Origin {
    /// The other end.
    pub address: Option<SocketAddr>,
    /// Who guards this door; None: nobody, everybody may come in and do anything.
    pub identity: Option<Arc<Identity>>,
    /// None: plain text.
    pub secured: Option<Secured>,
    /// How long the connection may stay.
    pub stay: Arc<Stay>,
}

/// A connection under TLS.
#[derive(Clone)]
pub struct Secured {
    /// The certificate that was sent and verified.
    pub certificate: Option<Arc<Certificate>>,
}

/// A host may report, until it is over.
pub struct Pass(Option<Held>);

struct Held {
    identity: Arc<Identity>,
    certificate: Arc<Certificate>,
    host: String,
    revocations: watch::Receiver<u64>,
}

impl Origin {
    /// Lets a host report that says it is `host`; else tells why not.
    pub fn pass(&self, host: &str) -> Result<Pass, String> {
        let (Some(identity), Some(secured)) = (&self.identity, &self.secured) else { return Ok(Pass(None)) };
        let none = || "a certificate is needed: enrol this host with why502-agent enroll".to_owned();
        let certificate = secured.certificate.clone().ok_or_else(none)?;
        let revocations = identity.revocations.subscribe();
        let held = Held { identity: identity.clone(), certificate, host: host.to_owned(), revocations };
        match held.fault() {
            Some(why) => Err(why),
            None => Ok(Pass(Some(held))),
        }
    }

    /// The certificate's host, where it is still good: who may renew.
    pub fn host(&self) -> Result<String, String> {
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate.as_ref());
        let host = certificate.and_then(|certificate| certificate.host()).unwrap_or_default().to_owned();
        self.pass(&host).map(|_| host)
    }

    /// The host that the certificate names, and the address, as far as they are known.
    pub fn names(&self) -> (&str, String) {
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate.as_ref());
        let host = certificate.and_then(|certificate| certificate.host()).unwrap_or_default();
        (host, self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string()))
    }

    /// The role of who asks, from the certificate or a token.
    pub fn role(&self, token: Option<&str>) -> Result<Role, &'static str> {
        let Some(identity) = &self.identity else { return Ok(Role::Admin) };
        if let Some(token) = token {
            return identity.token_role(token).ok_or("the token is not known or has expired");
        }
        let Some(secured) = &self.secured else { return Ok(Role::Read) };
        let Some(certificate) = &secured.certificate else { return Err("a token or a certificate is needed") };
        if certificate.not_after_s < now_s() {
            return Err("the certificate has expired");
        }
        certificate.role.ok_or("the certificate carries no role: it is a host's")
    }
}

impl Pass {
    /// Waits until the host may not report any more, and tells why.
    pub async fn over(&mut self) -> String {
        match &mut self.0 {
            Some(held) => held.over().await,
            None => std::future::pending().await,
        }
    }
}

impl Held {
    fn fault(&self) -> Option<String> {
        let (certificate, now_s) = (&self.certificate, now_s());
        if !certificate.is_of(&self.host) {
            let named = certificate.host().unwrap_or("no host");
            return Some(format!("the certificate is of {named:?}, not of {:?}", self.host));
        }
        // The handshake has looked at both times; a connection may outlive them, and clocks may be set.
        if certificate.not_before_s > now_s || certificate.not_after_s < now_s {
            return Some("the certificate is not good at this time".to_owned());
        }
        let revoked = certificate.not_before_s < self.identity.good_from_s(&self.host);
        revoked.then(|| "the host was revoked: enrol it again".to_owned())
    }

    async fn over(&mut self) -> String {
        loop {
            if let Some(why) = self.fault() {
                return why;
            }
            let left_s = u64::try_from(self.certificate.not_after_s - now_s()).unwrap_or(0) + 1;
            tokio::select! {
                // The sender lives as long as the identity that is held here.
                _ = self.revocations.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(left_s)) => {}
            }
        }
    }
}
