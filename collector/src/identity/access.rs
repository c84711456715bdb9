//! What administrators say about who may come in: tokens made, hosts revoked. The gate before it has seen the role; without
//! a CA or certificates there is nothing to administrate.

use std::net::SocketAddr;
use std::sync::Arc;

use tonic::{Request, Response, Status};
use why502_proto::v1;

use super::registry::{Grant, Listed};
use super::{Identity, Role, is_host_name};

/// How long an enrolment token is good unless told, seconds.
const TTL_S: u64 = 3_600;
/// How long a person's token is good unless told, seconds.
const ROLE_TTL_S: u64 = 30 * 86_400;

/// The access service.
pub struct Access {
    identity: Option<Arc<Identity>>,
    ingest: SocketAddr,
}

impl Access {
    /// A service for who administrates `identity`, whose hosts come to `ingest`.
    pub fn new(identity: Option<Arc<Identity>>, ingest: SocketAddr) -> Self {
        Self { identity, ingest }
    }

    fn identity(&self) -> Result<&Arc<Identity>, Status> {
        self.identity
            .as_ref()
            .ok_or_else(|| Status::failed_precondition("this collector has no CA, so nobody needs a token: why502 ca init on its machine makes one, then restart it"))
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
        let identity = self.identity()?;
        let created = identity.create_token(grant, ttl_s, uses.max(1)).await.map_err(Status::invalid_argument)?;
        Ok(Response::new(v1::CreateTokenResponse {
            token: created.token,
            expires_unix_s: created.expires_s,
            id: created.id,
            ingest_url: identity.reached_at(self.ingest),
            ca_pin: identity.authority().map(|authority| authority.pin()).unwrap_or_default(),
        }))
    }

    async fn list_tokens(&self, _: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        let tokens = self.identity()?.tokens().into_iter().map(listed).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let found = self.identity()?.revoke_token(request.into_inner().id).await.map_err(Status::internal)?;
        Ok(Response::new(v1::RevokeTokenResponse { found }))
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

fn listed(token: Listed) -> v1::Token {
    use v1::token::For;
    let r#for = match token.grant {
        Grant::Host(host) => For::Host(host),
        Grant::Pattern(pattern) => For::Pattern(pattern),
        Grant::Role(role) => For::Role(role.id().to_owned()),
    };
    v1::Token { id: token.id, r#for: Some(r#for), expires_unix_s: token.expires_s, uses: token.uses }
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
