//! Commands that say who may come in, asked of a running collector.

use why502_proto::v1;
use why502_proto::v1::access_client::AccessClient;
use why502_proto::v1::create_token_request::For;

use super::ask::{Caller, connect, fault};
use super::{Asking, EXIT_OK, Fault, TokenCommand, TokenFor, print};
use crate::view::{parse_duration, stamp};

/// Makes a token. Only the token goes to standard output, so that it can be written to a file as it is.
pub async fn token(what: TokenCommand, asking: &Asking) -> Result<u8, Fault> {
    let TokenCommand::Create(TokenFor { whom, ttl, uses }) = what;
    let ttl_us = ttl.as_deref().map(parse_duration).transpose().map_err(|bad| Fault::Usage(bad.to_string()))?;
    let ttl_s = ttl_us.map_or(0, |us| u64::try_from(us / 1_000_000).unwrap_or(0).max(1));
    let r#for = whom.host.map(For::Host).or(whom.pattern.map(For::Pattern)).or(whom.role.map(For::Role));
    let request = v1::CreateTokenRequest { r#for, ttl_s, uses };
    let mut client: AccessClient<Caller> = AccessClient::new(connect(asking).await?);
    let created = client.create_token(request).await.map_err(|status| fault(asking, &status))?.into_inner();
    let expires = stamp(created.expires_unix_s.saturating_mul(1_000_000));
    let json = || serde_json::json!({"token": created.token, "expires": expires}).to_string();
    print(&format!("{}\n", if asking.json { json() } else { created.token.clone() }))?;
    Ok(EXIT_OK)
}

/// Refuses a host.
pub async fn revoke(host: String, asking: &Asking) -> Result<u8, Fault> {
    let mut client: AccessClient<Caller> = AccessClient::new(connect(asking).await?);
    let request = v1::RevokeRequest { host: host.clone() };
    client.revoke(request).await.map_err(|status| fault(asking, &status))?;
    let json = || serde_json::json!({"revoked": host}).to_string();
    print(&format!("{}\n", if asking.json { json() } else { format!("{host} is refused from now on") }))?;
    Ok(EXIT_OK)
}
