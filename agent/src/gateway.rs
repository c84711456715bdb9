//! Gateways: one log line becomes a record of attempts and signals, a notice, or is told to be unreadable; a gateway's
//! configuration becomes one model for all kinds. Pure functions over bytes: no files, no clocks, no schema.
//! A reader never fails on a line and never panics; text that a client chose never yields a signal.

use std::path::Path;

mod apache;
mod aws;
mod azure_appgw;
mod boxed;
mod caddy;
mod cloudflare;
mod cloudflared;
mod document;
mod envoy;
mod gcp_lb;
mod glance;
mod go_duration;
mod go_error;
mod haproxy;
mod heroku;
mod join;
mod json;
mod json_lines;
mod lighttpd;
mod line;
mod linkerd;
mod mend;
mod model;
mod nginx;
mod record;
mod squid;
mod stamp;
mod template;
mod text_lines;
mod traefik;
mod varnish;

pub use join::Joiner;
pub use line::{LIMIT_BYTES as LINE_LIMIT_BYTES, program as syslog_program};
pub use model::*;
pub use record::*;
pub use stamp::Zone;

/// A log format that can't be read, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);

/// A reader of one log, also of lines that a collector of logs has put into objects of its own. `format` is the gateway's own log-format setting; without it the formats that the gateway
/// ships with and plain JSON of its usual field names are told apart line by line. `zone` is the host's, for stamps
/// that carry none.
pub fn reader(kind: Kind, log: Log, format: Option<&str>, zone: &Zone) -> Result<Box<dyn Reader>, FormatError> {
    let reader = plain_reader(kind, log, format, zone)?;
    Ok(Box::new(boxed::Boxed::new(reader, zone)))
}

fn plain_reader(kind: Kind, log: Log, format: Option<&str>, zone: &Zone) -> Result<Box<dyn Reader>, FormatError> {
    match kind {
        Kind::Nginx | Kind::NginxStream | Kind::IngressNginx => nginx::reader(kind, log, format, zone),
        Kind::Haproxy => Ok(haproxy::reader(format, zone)),
        Kind::Apache => Ok(apache::reader(format, zone)),
        Kind::Caddy => Ok(caddy::reader(zone)),
        Kind::AwsAlb => Ok(aws::alb(zone)),
        Kind::AwsClb => Ok(aws::clb(zone)),
        Kind::AzureAppgw => Ok(azure_appgw::reader(zone)),
        Kind::Cloudflare => Ok(cloudflare::reader(zone)),
        Kind::GcpLb => Ok(gcp_lb::reader(zone)),
        Kind::Traefik => Ok(traefik::reader(zone)),
        Kind::Varnish => Ok(varnish::reader(format, zone)),
        Kind::Envoy | Kind::Istio => Ok(envoy::reader(format, zone)),
        Kind::Lighttpd => Ok(lighttpd::reader(format, zone)),
        Kind::Squid => Ok(squid::reader(zone)),
        Kind::Linkerd => Ok(linkerd::reader(zone)),
        Kind::Cloudflared => Ok(cloudflared::reader(zone)),
        Kind::Heroku => Ok(heroku::reader(zone)),
    }
}

/// What a gateway's configuration file says, with all that it includes. None: the kind has none that can be read.
pub fn configuration(kind: Kind, path: &Path, files: &dyn Files) -> Option<Configuration> {
    configuration_reader(kind).map(|read| read(kind, path, files))
}

/// Whether gateways of this kind have a configuration that can be read.
pub fn has_configuration(kind: Kind) -> bool {
    configuration_reader(kind).is_some()
}

type ConfigurationReader = fn(Kind, &Path, &dyn Files) -> Configuration;

fn configuration_reader(kind: Kind) -> Option<ConfigurationReader> {
    Some(match kind {
        Kind::Nginx | Kind::NginxStream | Kind::IngressNginx => nginx::configuration,
        Kind::Caddy => |_, path, files| caddy::configuration(path, files),
        Kind::Haproxy => |_, path, files| haproxy::configuration(path, files),
        Kind::Envoy | Kind::Istio => |_, path, files| envoy::configuration(path, files),
        Kind::Apache => |_, path, files| apache::configuration(path, files),
        Kind::Traefik => |_, path, files| traefik::configuration(path, files),
        Kind::Varnish => |_, path, files| varnish::configuration(path, files),
        _ => return None,
    })
}

/// The kinds of gateway that logs can be read of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the contract's names
pub enum Kind {
    Nginx,
    NginxStream,
    IngressNginx,
    Haproxy,
    Envoy,
    Istio,
    Apache,
    Caddy,
    Traefik,
    Varnish,
    AwsAlb,
    AwsClb,
    GcpLb,
    AzureAppgw,
    Cloudflare,
    Lighttpd,
    Squid,
    Linkerd,
    Cloudflared,
    Heroku,
}

impl Kind {
    /// All kinds with their names in the contract.
    pub const ALL: [(Kind, &'static str); 20] = [
        (Self::Nginx, "nginx"),
        (Self::NginxStream, "nginx_stream"),
        (Self::IngressNginx, "ingress_nginx"),
        (Self::Haproxy, "haproxy"),
        (Self::Envoy, "envoy"),
        (Self::Istio, "istio"),
        (Self::Apache, "apache"),
        (Self::Caddy, "caddy"),
        (Self::Traefik, "traefik"),
        (Self::Varnish, "varnish"),
        (Self::AwsAlb, "aws_alb"),
        (Self::AwsClb, "aws_clb"),
        (Self::GcpLb, "gcp_lb"),
        (Self::AzureAppgw, "azure_appgw"),
        (Self::Cloudflare, "cloudflare"),
        (Self::Lighttpd, "lighttpd"),
        (Self::Squid, "squid"),
        (Self::Linkerd, "linkerd"),
        (Self::Cloudflared, "cloudflared"),
        (Self::Heroku, "heroku"),
    ];

    /// Its name in the contract.
    pub fn id(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, id)| id)
    }

    /// A provider's gateway, of which only the log is here.
    pub fn is_elsewhere(self) -> bool {
        use Kind::{AwsAlb, AwsClb, AzureAppgw, Cloudflare, GcpLb, Heroku};
        matches!(self, AwsAlb | AwsClb | GcpLb | AzureAppgw | Cloudflare | Heroku)
    }

    /// The kind of a name.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == id).map(|(kind, _)| *kind)
    }
}
