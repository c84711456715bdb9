//! How hosts come by certificates, on the agents' own address: the first one for a token, each further one for the one before.
//! The host makes its key and proves that it has it; only the public half travels.

use std::sync::Arc;
use std::time::Duration;

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use tonic::{Request, Response, Status};
use tracing::{info, warn};
use why502_proto::v1;

use super::authority::HostKey;
use super::origin::Origin;
use super::{Identity, is_host_name, now_s};
use crate::doors::Notices;

/// What the proof of a key signs, before the host's name.
const PROOF: &[u8] = b"why502 enrolment\0";

/// The enrolment service.
pub struct Enrolment {
    identity: Option<Arc<Identity>>,
    notices: Arc<Notices>,
}

impl Enrolment {
    /// A service that signs where the collector has a CA, and tells of whom it refused.
    pub fn new(identity: Option<Arc<Identity>>, notices: Arc<Notices>) -> Self {
        Self { identity, notices }
    }

    fn refuse(&self, host: &str, origin: &Origin, why: Status) -> Status {
        let from = origin.address.map_or_else(|| "unknown".to_owned(), |address| address.ip().to_string());
        warn!("host {host:?} at {from} gets no certificate: {}", why.message());
        self.notices.tell(host, format!("gets no certificate (asked from {from}): {}", why.message()));
        why
    }

    async fn enroll(&self, origin: &Origin, request: v1::EnrollRequest) -> Result<v1::HostCertificate, Status> {
        let identity = self.identity(origin)?;
        let v1::EnrollRequest { token, host, public_key, proof } = request;
        let key = proven(&host, public_key, &proof)?;
        // Before the token is spent: a collector without a CA must not cost it.
        identity.authority().ok_or_else(no_authority)?;
        identity.spend(token, host.clone()).await.map_err(Status::permission_denied)?;
        sign(&identity, &host, &key).await
    }

    async fn renew(
        &self,
        origin: &Origin,
        host: &str,
        request: v1::RenewRequest,
    ) -> Result<v1::HostCertificate, Status> {
        let identity = self.identity(origin)?;
        let key = proven(host, request.public_key, &request.proof)?;
        sign(&identity, host, &key).await
    }

    fn identity(&self, origin: &Origin) -> Result<Arc<Identity>, Status> {
        if origin.secured.is_none() {
            return Err(Status::failed_precondition("certificates are given over TLS only: use https://"));
        }
        self.identity.clone().ok_or_else(no_authority)
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for Enrolment {
    async fn enroll(&self, request: Request<v1::EnrollRequest>) -> Result<Response<v1::HostCertificate>, Status> {
        let origin = origin(&request)?;
        let request = request.into_inner();
        let host: String = request.host.chars().take(253).collect();
        match self.enroll(&origin, request).await {
            Ok(signed) => {
                info!("host {host:?} was enrolled");
                Ok(Response::new(signed))
            }
            Err(why) => Err(self.refuse(&host, &origin, why)),
        }
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::HostCertificate>, Status> {
        let origin = origin(&request)?;
        let host = origin.host().map_err(Status::permission_denied)?;
        match self.renew(&origin, &host, request.into_inner()).await {
            Ok(signed) => Ok(Response::new(signed)),
            Err(why) => Err(self.refuse(&host, &origin, why)),
        }
    }
}

/// Where a request comes from.
pub fn origin<T>(request: &Request<T>) -> Result<Origin, Status> {
    request.extensions().get::<Origin>().cloned().ok_or_else(|| Status::internal("where this comes from is not known"))
}

fn no_authority() -> Status {
    Status::failed_precondition("this collector has no CA of its own: why502 ca init makes one")
}

fn proven(host: &str, public_key: Vec<u8>, proof: &[u8]) -> Result<HostKey, Status> {
    if !is_host_name(host) {
        return Err(Status::invalid_argument("a host's name is letters, digits, \".\", \"-\" and \"_\""));
    }
    let bad_key = || Status::invalid_argument("the public key is no point of P-256, or the proof is not by it");
    let key = HostKey::new(public_key).ok_or_else(bad_key)?;
    let signed = [PROOF, host.as_bytes()].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.bytes()).verify(&signed, proof).map_err(|_| bad_key())?;
    Ok(key)
}

async fn sign(identity: &Identity, host: &str, key: &HostKey) -> Result<v1::HostCertificate, Status> {
    let authority = identity.authority().ok_or_else(no_authority)?;
    // A certificate that begins when a revocation ends is not of those that it refuses; until then it would be good for
    // nothing, so that who asks within the same second waits for the next.
    let (now, from_s) = (now_s(), now_s().max(identity.good_from_s(host)));
    tokio::time::sleep(Duration::from_secs(u64::from(from_s > now))).await;
    let certificate_pem = authority.host(host, key, from_s, identity.host_life()).map_err(Status::internal)?;
    Ok(v1::HostCertificate { certificate_pem, roots_pem: authority.roots_pem().to_owned() })
}
