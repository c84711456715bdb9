//! `[alerts]` of the configuration as parsed types: who is told of incidents, of which, and how. A fault names the line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::http::Uri;
use serde::{Deserialize, Deserializer, de};

use crate::model::{CATALOGUE, Cause};
use crate::view::parse_duration;

/// Sinks that may be configured.
const SINKS_MAX: usize = 32;
/// A sink that says nothing of it gets at most so many messages in a minute.
const PER_MINUTE: u32 = 60;

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The collector's address as people reach it: stands in the command that a message tells.
    pub collector_url: String,
    /// The sinks.
    #[serde(deserialize_with = "sinks")]
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
}

impl Kind {
    /// The word for it in the configuration.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Webhook(_) => "webhook",
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
    /// The document's type.
    pub content_type: String,
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

/// A sink as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkText {
    name: String,
    kind: KindText,
    #[serde(default)]
    url: Option<TargetText>,
    #[serde(default)]
    urls: Vec<TargetText>,
    template: Option<PathBuf>,
    values: Option<BTreeMap<String, String>>,
    secret_file: Option<PathBuf>,
    headers: Option<BTreeMap<String, String>>,
    content_type: Option<String>,
    ca_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "families")]
    families: Vec<String>,
    #[serde(default, deserialize_with = "causes")]
    causes: Vec<String>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default, deserialize_with = "confidence")]
    least_confidence: f64,
    #[serde(default)]
    least_count: u64,
    group: Option<bool>,
    wait: Option<DurationText>,
    resend: Option<DurationText>,
    give_up: Option<DurationText>,
    most_per_minute: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindText {
    Alertmanager,
    Webhook,
}

impl TryFrom<SinkText> for Sink {
    type Error = String;

    fn try_from(text: SinkText) -> Result<Self, String> {
        let name = text.name.clone();
        if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!("sink name {name:?}: use up to 64 letters, digits, \"-\", \"_\" and \".\""));
        }
        let is_alertmanager = text.kind == KindText::Alertmanager;
        if let Some(label) = text.labels.keys().find(|label| !is_label(label)) {
            return Err(format!("sink {name:?}: {label:?} is no name of a label: use letters, digits and \"_\""));
        }
        let us = |given: &Option<DurationText>, default_us| given.as_ref().map_or(default_us, |text| text.0);
        let resend_us = us(&text.resend, if is_alertmanager { 60_000_000 } else { 0 });
        if is_alertmanager && resend_us < 1_000_000 {
            return Err(format!(
                "sink {name:?}: resend must be at least \"1s\": Alertmanager forgets what is not re-sent"
            ));
        }
        Ok(Self {
            only: Only {
                families: text.families.clone(),
                causes: text.causes.clone(),
                services: text.services.clone(),
                least_confidence: text.least_confidence,
                least_count: text.least_count,
            },
            group: text.group.unwrap_or(!is_alertmanager),
            wait_us: us(&text.wait, if is_alertmanager { 0 } else { 5_000_000 }),
            resend_us: Some(resend_us).filter(|us| *us > 0),
            give_up_us: us(&text.give_up, 86_400_000_000),
            most_per_minute: text.most_per_minute.unwrap_or(if is_alertmanager { u32::MAX } else { PER_MINUTE }).max(1),
            labels: text.labels.clone(),
            ca_file: text.ca_file.clone(),
            kind: text.kind()?,
            name,
        })
    }
}

impl SinkText {
    fn kind(self) -> Result<Kind, String> {
        let (name, targets) = (self.name, self.url.into_iter().chain(self.urls).map(|url| url.0).collect::<Vec<_>>());
        match self.kind {
            KindText::Alertmanager => {
                let foreign = self.template.is_some()
                    || self.values.is_some()
                    || self.secret_file.is_some()
                    || self.headers.is_some()
                    || self.content_type.is_some();
                if foreign {
                    let keys = "template, values, secret_file, headers and content_type are for kind = \"webhook\"";
                    return Err(format!("sink {name:?}: {keys}"));
                }
                if targets.is_empty() {
                    return Err(format!(
                        "sink {name:?}: urls names no Alertmanager, such as \"http://127.0.0.1:9093\""
                    ));
                }
                Ok(Kind::Alertmanager(targets))
            }
            KindText::Webhook => {
                let [target] = <[Target; 1]>::try_from(targets)
                    .map_err(|_| format!("sink {name:?}: a webhook needs exactly one url"))?;
                Ok(Kind::Webhook(Box::new(Webhook {
                    target,
                    template: self.template,
                    values: self.values.unwrap_or_default(),
                    secret_file: self.secret_file,
                    headers: self.headers.unwrap_or_default(),
                    content_type: self.content_type.unwrap_or_else(|| "application/json".to_owned()),
                })))
            }
        }
    }
}

/// Whether Alertmanager takes a text as a label's name.
fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

struct TargetText(Target);

impl<'de> Deserialize<'de> for TargetText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || de::Error::custom("this is not an address such as \"https://chat.example/hook\"");
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self(Target { tls, host, port, uri }))
    }
}

struct DurationText(i64);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

fn sinks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Sink>, D::Error> {
    let sinks = Vec::<Sink>::deserialize(deserializer)?;
    if sinks.len() > SINKS_MAX {
        return Err(de::Error::custom(format!("there are {} sinks, at most {SINKS_MAX} may be", sinks.len())));
    }
    let mut names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(de::Error::custom(format!("two sinks are called {:?}: give each a name of its own", pair[0])))
        }
        None => Ok(sinks),
    }
}

fn families<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let known = |id: &str| CATALOGUE.iter().any(|entry| entry.family.id() == id);
    ids(deserializer, "family", known)
}

fn causes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    ids(deserializer, "cause", |id| Cause::from_id(id).is_some())
}

fn ids<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<String>, D::Error> {
    let ids = Vec::<String>::deserialize(deserializer)?;
    match ids.iter().find(|id| !known(id)) {
        Some(id) => Err(de::Error::custom(format!("there is no {what} {id:?}; see why502 causes"))),
        None => Ok(ids),
    }
}

fn confidence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let confidence = f64::deserialize(deserializer)?;
    match (0.0..=1.0).contains(&confidence) {
        true => Ok(confidence),
        false => Err(de::Error::custom("least_confidence must lie between 0.0 and 1.0")),
    }
}
