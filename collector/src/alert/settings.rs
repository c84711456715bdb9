//! `[alerts]` of the configuration as parsed types: who is told of incidents, of which, and how. A fault names the line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::http::Uri;
use serde::Deserialize;

mod text;

use text::SinkText;

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The collector's address as people reach it: stands in the command that a message tells.
    pub collector_url: String,
    /// The sinks.
    #[serde(deserialize_with = "text::sinks")]
    pub sink: Vec<Sink>,
}

/// One that is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "SinkText")]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// How it is told.
    pub kind: Kind,
    /// Of which incidents it is told.
    pub only: Only,
    /// Incidents that one cause explains are one message.
    pub group: bool,
    /// How long an incident must have been open, so that those of its group and a settled verdict come along.
    pub wait_us: i64,
    /// What is open is told again so often. None: once.
    pub resend_us: Option<i64>,
    /// What could not be delivered for so long is given up.
    pub give_up_us: i64,
    /// Most messages in a minute; further ones wait.
    pub most_per_minute: u32,
    /// Labels that every message gets.
    pub labels: BTreeMap<String, String>,
    /// Trusts these roots instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Sink {
    /// Whether it knows incidents by all their labels, so that each change of one makes another alert.
    pub fn keeps_by_labels(&self) -> bool {
        matches!(self.kind, Kind::Alertmanager(_))
    }

    /// Where it is told.
    pub fn targets(&self) -> &[Target] {
        match &self.kind {
            Kind::Alertmanager(targets) => targets,
            Kind::Webhook(webhook) => std::slice::from_ref(&webhook.target),
            Kind::Otlp(otlp) => std::slice::from_ref(&otlp.target),
        }
    }
}

/// How a sink is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// By Alertmanager's API, version 2: each of these.
    Alertmanager(Vec<Target>),
    /// By a POST.
    Webhook(Box<Webhook>),
    /// By OpenTelemetry's protocol.
    Otlp(Box<Otlp>),
}

impl Kind {
    /// The word for it in the configuration.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Webhook(_) => "webhook",
            Self::Otlp(_) => "otlp",
        }
    }
}

/// A POST of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where to.
    pub target: Target,
    /// The document's template. None: the message as JSON.
    pub template: Option<PathBuf>,
    /// Values that the template may use.
    pub values: BTreeMap<String, String>,
    /// The key of the signature. None: not signed.
    pub secret_file: Option<PathBuf>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Further ones whose values stand in files.
    pub header_files: BTreeMap<String, PathBuf>,
    /// The document's type.
    pub content_type: String,
}

/// Log records for a receiver of OpenTelemetry's protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// Where to.
    pub target: Target,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Further ones whose values stand in files.
    pub header_files: BTreeMap<String, PathBuf>,
    /// What is said of the resource that logs.
    pub resource: BTreeMap<String, String>,
}

/// An address that is posted to. Its path may hold a secret, and is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its parts.
    pub uri: Uri,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Target {
    /// What may be shown of it.
    pub fn shown(&self) -> String {
        format!("{}://{}:{}", if self.tls { "https" } else { "http" }, self.host, self.port)
    }

    /// The same with a path behind its own.
    pub fn below(&self, path: &str) -> Self {
        let base = self.uri.to_string();
        let uri = format!("{}{path}", base.trim_end_matches('/')).parse().unwrap_or_else(|_| self.uri.clone());
        Self { uri, ..self.clone() }
    }
}

/// Of which incidents a sink is told. What is empty fits any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Only {
    /// Of these families.
    pub families: Vec<String>,
    /// Of these causes.
    pub causes: Vec<String>,
    /// Of these services.
    pub services: Vec<String>,
    /// Of verdicts at least so sure.
    pub least_confidence: f64,
    /// Of at least so many failed attempts.
    pub least_count: u64,
}
