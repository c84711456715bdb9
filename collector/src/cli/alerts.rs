//! Commands about alerts: try a sink, silence incidents, end a silence.

use clap::{Args, Subcommand};
use why502_proto::v1;

use super::ask::{Client, fault};
use super::{Asking, EXIT_NOTHING, EXIT_OK, Fault, print};
use crate::view::{clean, parse_duration, stamp};

#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// Send a sample to a sink; exit 1 where it does not arrive
    Test {
        /// The sink's name in the collector's configuration
        sink: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Silence {
    /// Begin a silence: what fits all that is given is told to nobody. Who was told already hears of its end
    Add(SilenceAdd),
    /// The silences that hold, and those that ended in the last day
    List,
    /// End a silence now; exit 1 where there is none of that id
    Expire {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct SilenceAdd {
    /// Only this service
    #[arg(long)]
    service: Option<String>,
    /// Only instances on this host
    #[arg(long)]
    host: Option<String>,
    /// Only this upstream address
    #[arg(long)]
    upstream: Option<String>,
    /// Only this gateway
    #[arg(long)]
    gateway: Option<String>,
    /// Only this cause
    #[arg(long)]
    cause: Option<String>,
    /// Only this family of causes
    #[arg(long)]
    family: Option<String>,
    /// How long, such as 2h
    #[arg(long = "for", value_name = "DURATION")]
    lasts: String,
    /// Why
    #[arg(long)]
    comment: Option<String>,
}

/// Sends a sample to a sink. Exit 1: it did not arrive.
pub async fn test(client: &mut Client, sink: String, asking: &Asking) -> Result<u8, Fault> {
    let request = v1::TestSinkRequest { sink: sink.clone() };
    let answer = client.test_sink(request).await.map_err(|status| fault(asking, &status))?.into_inner();
    print(&match (asking.json, answer.fault.is_empty()) {
        (true, arrived) => format!("{}\n", serde_json::json!({"sink": sink, "arrived": arrived, "why": answer.fault})),
        (false, true) => format!("{} has confirmed a test message\n", clean(&sink)),
        (false, false) => format!("{} got no test message: {}\n", clean(&sink), clean(&answer.fault)),
    })?;
    Ok(if answer.fault.is_empty() { EXIT_OK } else { EXIT_NOTHING })
}

/// Adds a silence; prints its id.
pub async fn silence(client: &mut Client, add: SilenceAdd, asking: &Asking) -> Result<u8, Fault> {
    let lasts_us = parse_duration(&add.lasts).map_err(|bad| Fault::Usage(format!("--for: {bad}")))?;
    let text = Option::unwrap_or_default;
    let only = v1::SilenceOnly {
        service: text(add.service),
        host: text(add.host),
        upstream: text(add.upstream),
        gateway: text(add.gateway),
        cause: text(add.cause),
        family: text(add.family),
    };
    let request =
        v1::SilenceRequest { only: Some(only), lasts_us: lasts_us.unsigned_abs(), comment: text(add.comment) };
    let answer = client.silence(request).await.map_err(|status| fault(asking, &status))?.into_inner();
    let (id, until) = (answer.id, stamp(answer.until_unix_us));
    print(&match asking.json {
        true => format!("{}\n", serde_json::json!({"id": id, "until": until})),
        false => {
            format!("silence {} holds until {until}; end it with: why502 silence expire {}\n", clean(&id), clean(&id))
        }
    })?;
    Ok(EXIT_OK)
}

/// Ends a silence. Exit 1: there is none of that id.
pub async fn expire(client: &mut Client, id: String, asking: &Asking) -> Result<u8, Fault> {
    let request = v1::ExpireSilenceRequest { id: id.clone() };
    let found = client.expire_silence(request).await.map_err(|status| fault(asking, &status))?.into_inner().found;
    print(&match (asking.json, found) {
        (true, _) => format!("{}\n", serde_json::json!({"id": id, "found": found})),
        (false, true) => format!("silence {} has ended\n", clean(&id)),
        (false, false) => format!("no silence {} holds\n", clean(&id)),
    })?;
    Ok(if found { EXIT_OK } else { EXIT_NOTHING })
}
