//! What administrators say about who may come in: tokens made, hosts revoked. The gate before it has seen the role; without
//! a CA or certificates there is nothing to administrate.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use why502_proto::v1;

use super::registry::Grant;
use super::{Identity, Role, is_host_name};

/// How long an enrolment token is good unless told, seconds.
const TTL_S: u64 = 3_600;
/// How long a person's token is good unless told, seconds.
const ROLE_TTL_S: u64 = 30 * 86_400;

/// The access service.
pub struct Access(pub Option<Arc<Identity>>);

impl Access {
    fn identity(&self) -> Result<&Arc<Identity>, Status> {
        self.0.as_ref().ok_or_else(|| Status::failed_precondition("this collector speaks no TLS: why502 ca init"))
    }
}

#[tonic::async_trait]
impl v1::access_server::Access for Access {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let v1::CreateTokenRequest { r#for, ttl_s, uses } = request.into_inner();
        let (grant, default_s) = grant(r#for)?;
        let ttl_s = i64::try_from(if ttl_s == 0 { default_s } else { ttl_s }).unwrap_or(i64::MAX);
        let created = self.identity()?.create_token(grant, ttl_s, uses.max(1)).await;
        let created = created.map_err(Status::invalid_argument)?;
        Ok(Response::new(v1::CreateTokenResponse { token: created.token, expires_unix_s: created.expires_s }))
    }

    async fn revoke(&self, request: Request<v1::RevokeRequest>) -> Result<Response<v1::RevokeResponse>, Status> {
        let host = request.into_inner().host;
        if !is_host_name(&host) {
            return Err(Status::invalid_argument(format!("{host:?} is no host's name")));
        }
        self.identity()?.revoke(host).await.map_err(Status::internal)?;
        Ok(Response::new(v1::RevokeResponse {}))
    }
}

fn grant(wanted: Option<v1::create_token_request::For>) -> Result<(Grant, u64), Status> {
    use v1::create_token_request::For;
    match wanted {
        Some(For::Host(host)) if is_host_name(&host) => Ok((Grant::Host(host), TTL_S)),
        Some(For::Pattern(pattern)) if is_host_name(&pattern.replace('*', "x")) => Ok((Grant::Pattern(pattern), TTL_S)),
        Some(For::Role(role)) => match Role::parse(&role) {
            Some(role) => Ok((Grant::Role(role), ROLE_TTL_S)),
            None => Err(Status::invalid_argument(format!("{role:?} is no role: read or admin"))),
        },
        Some(For::Host(_) | For::Pattern(_)) => {
            Err(Status::invalid_argument("a host's name is letters, digits, \".\", \"-\" and \"_\""))
        }
        None => Err(Status::invalid_argument("a token is for a host, a pattern or a role")),
    }
}
