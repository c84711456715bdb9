//! Commands that say who may come in, asked of a running collector.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use why502_proto::v1;
use why502_proto::v1::access_client::AccessClient;
use why502_proto::v1::create_token_request::For;

use super::ask::{Caller, connect, fault};
use super::{Asking, EXIT_NOTHING, EXIT_OK, Fault, print};
use crate::view::{clean, parse_duration, stamp};

/// Where packages put an agent's configuration, which knows the host's name.
const AGENT_CONFIG: &str = "/etc/why502/agent.toml";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it; it is kept as a hash only. How a host enrols with it is told on standard error
    Create(TokenFor),
    /// The tokens that are good for something yet, without their texts
    List,
    /// Take a token back; exit 1 where there is none of that id
    Revoke {
        /// Its id, as listed
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct TokenFor {
    #[command(flatten)]
    whom: Whom,
    /// How long it is good (default 1h, for a role 30d)
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// How many hosts it enrols
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// Enrols the host of this name
    #[arg(long)]
    host: Option<String>,
    /// Enrols hosts whose names fit, such as 'app-*'
    #[arg(long)]
    pattern: Option<String>,
    /// Lets a person or a program ask: read or admin
    #[arg(long)]
    role: Option<String>,
}

/// Runs a command about tokens.
pub async fn token(what: TokenCommand, asking: &Asking) -> Result<u8, Fault> {
    match what {
        TokenCommand::Create(wanted) => create(wanted, asking).await,
        TokenCommand::List => list(asking).await,
        TokenCommand::Revoke { id } => take_back(id, asking).await,
    }
}

async fn access(asking: &Asking) -> Result<AccessClient<Caller>, Fault> {
    Ok(AccessClient::new(connect(asking).await?))
}

/// Makes a token. Only the token goes to standard output, so that it can be written to a file as it is.
async fn create(TokenFor { whom, ttl, uses }: TokenFor, asking: &Asking) -> Result<u8, Fault> {
    let ttl_us = ttl.as_deref().map(parse_duration).transpose().map_err(|bad| Fault::Usage(bad.to_string()))?;
    let ttl_s = ttl_us.map_or(0, |us| u64::try_from(us / 1_000_000).unwrap_or(0).max(1));
    let enrols = whom.role.is_none();
    let r#for = whom.host.map(For::Host).or(whom.pattern.map(For::Pattern)).or(whom.role.map(For::Role));
    let request = v1::CreateTokenRequest { r#for, ttl_s, uses };
    let created = access(asking).await?.create_token(request).await;
    let created = created.map_err(|status| fault(asking, &status))?.into_inner();
    let enroll = Some(&created).filter(|made| enrols && !made.ca_pin.is_empty()).map(enrolling);
    if asking.json {
        let json = serde_json::json!({
            "id": created.id,
            "token": created.token,
            "expires": stamp(created.expires_unix_s.saturating_mul(1_000_000)),
            "collector": created.ingest_url,
            "ca_pin": created.ca_pin,
            "enroll": enroll,
        });
        print(&format!("{json}\n"))?;
        return Ok(EXIT_OK);
    }
    if let Some(enroll) = enroll {
        // Nobody may be listening, which takes nothing from the token.
        let _ = writeln!(io::stderr(), "on the host, as root:\n\n  echo {} | {enroll}\n", created.token);
    }
    print(&format!("{}\n", created.token))?;
    Ok(EXIT_OK)
}

/// What a host runs to enrol; the token comes by standard input, where no list of processes shows it.
fn enrolling(created: &v1::CreateTokenResponse) -> String {
    format!(
        "why502-agent enroll --config {AGENT_CONFIG} --collector {} --ca-pin {} --token-file -",
        clean(&created.ingest_url),
        clean(&created.ca_pin)
    )
}

async fn list(asking: &Asking) -> Result<u8, Fault> {
    let listed = access(asking).await?.list_tokens(v1::ListTokensRequest {}).await;
    let tokens = listed.map_err(|status| fault(asking, &status))?.into_inner().tokens;
    let found = if tokens.is_empty() { EXIT_NOTHING } else { EXIT_OK };
    let told = tokens.into_iter().map(|token| {
        let (kind, whom) = match token.r#for {
            Some(v1::token::For::Host(host)) => ("host", host),
            Some(v1::token::For::Pattern(pattern)) => ("pattern", pattern),
            Some(v1::token::For::Role(role)) => ("role", role),
            None => ("unknown", String::new()),
        };
        let expires = stamp(token.expires_unix_s.saturating_mul(1_000_000));
        let uses = (kind != "role").then_some(token.uses);
        (token.id, kind, whom, expires, uses)
    });
    if asking.json {
        let tokens: Vec<_> = told
            .map(|(id, kind, whom, expires, uses)| {
                serde_json::json!({"id": id, "kind": kind, "for": whom, "expires": expires, "uses": uses})
            })
            .collect();
        print(&format!("{}\n", serde_json::json!({ "tokens": tokens })))?;
        return Ok(found);
    }
    let lines = told.map(|(id, kind, whom, expires, uses)| {
        let uses = uses.map_or_else(String::new, |uses| format!(", for {uses} hosts"));
        format!("{}  {kind} {} until {expires}{uses}\n", clean(&id), clean(&whom))
    });
    let lines: String = lines.collect();
    print(if lines.is_empty() { "no token is good for anything\n" } else { &lines })?;
    Ok(found)
}

async fn take_back(id: String, asking: &Asking) -> Result<u8, Fault> {
    let request = v1::RevokeTokenRequest { id: id.clone() };
    let answer = access(asking).await?.revoke_token(request).await;
    let found = answer.map_err(|status| fault(asking, &status))?.into_inner().found;
    let says = if found { "is good for nothing any more" } else { "is no token's id" };
    let json = || serde_json::json!({"revoked": found}).to_string();
    print(&format!("{}\n", if asking.json { json() } else { format!("{} {says}", clean(&id)) }))?;
    Ok(if found { EXIT_OK } else { EXIT_NOTHING })
}

/// Refuses a host.
pub async fn revoke(host: String, asking: &Asking) -> Result<u8, Fault> {
    let request = v1::RevokeRequest { host: host.clone() };
    access(asking).await?.revoke(request).await.map_err(|status| fault(asking, &status))?;
    let json = || serde_json::json!({"revoked": host}).to_string();
    print(&format!("{}\n", if asking.json { json() } else { format!("{host} is refused from now on") }))?;
    Ok(EXIT_OK)
}
