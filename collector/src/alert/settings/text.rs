//! Sinks as the file has them: what each key may be, and which kind of sink has a use for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::http::Uri;
use serde::{Deserialize, Deserializer, de};

use super::{Kind, Only, Otlp, Sink, Target, Webhook};
use crate::model::{CATALOGUE, Cause};
use crate::view::parse_duration;

/// Sinks that may be configured.
const SINKS_MAX: usize = 32;
/// A sink of people that says nothing of it gets at most so many messages in a minute.
const PER_MINUTE: u32 = 60;

/// A sink as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SinkText {
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
    header_files: Option<BTreeMap<String, PathBuf>>,
    resource: Option<BTreeMap<String, String>>,
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
    Otlp,
}

impl TryFrom<SinkText> for Sink {
    type Error = String;

    fn try_from(text: SinkText) -> Result<Self, String> {
        let name = text.name.clone();
        if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!("sink name {name:?}: use up to 64 letters, digits, \"-\", \"_\" and \".\""));
        }
        let is_alertmanager = text.kind == KindText::Alertmanager;
        // People are told; a machine is given everything as it comes.
        let is_webhook = text.kind == KindText::Webhook;
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
            group: text.group.unwrap_or(is_webhook),
            wait_us: us(&text.wait, if is_alertmanager { 0 } else { 5_000_000 }),
            resend_us: Some(resend_us).filter(|us| *us > 0),
            give_up_us: us(&text.give_up, 86_400_000_000),
            most_per_minute: text.most_per_minute.unwrap_or(if is_webhook { PER_MINUTE } else { u32::MAX }).max(1),
            labels: text.labels.clone(),
            ca_file: text.ca_file.clone(),
            kind: text.kind()?,
            name,
        })
    }
}

impl SinkText {
    fn kind(self) -> Result<Kind, String> {
        self.refuse_foreign()?;
        let (name, targets) = (self.name, self.url.into_iter().chain(self.urls).map(|url| url.0).collect::<Vec<_>>());
        if self.kind == KindText::Alertmanager {
            if targets.is_empty() {
                return Err(format!("sink {name:?}: urls names no Alertmanager, such as \"http://127.0.0.1:9093\""));
            }
            return Ok(Kind::Alertmanager(targets));
        }
        let [target] = <[Target; 1]>::try_from(targets)
            .map_err(|_| format!("sink {name:?}: a sink of its kind needs exactly one url"))?;
        let (headers, header_files) = (self.headers.unwrap_or_default(), self.header_files.unwrap_or_default());
        if self.kind == KindText::Otlp {
            let resource = self.resource.unwrap_or_default();
            return Ok(Kind::Otlp(Box::new(Otlp { target, headers, header_files, resource })));
        }
        Ok(Kind::Webhook(Box::new(Webhook {
            target,
            template: self.template,
            values: self.values.unwrap_or_default(),
            secret_file: self.secret_file,
            headers,
            header_files,
            content_type: self.content_type.unwrap_or_else(|| "application/json".to_owned()),
        })))
    }

    /// A key that its kind has no use for is a mistake.
    fn refuse_foreign(&self) -> Result<(), String> {
        use KindText::{Otlp, Webhook};
        let keys: [(&str, bool, &[KindText]); 7] = [
            ("template", self.template.is_some(), &[Webhook]),
            ("values", self.values.is_some(), &[Webhook]),
            ("secret_file", self.secret_file.is_some(), &[Webhook]),
            ("content_type", self.content_type.is_some(), &[Webhook]),
            ("headers", self.headers.is_some(), &[Webhook, Otlp]),
            ("header_files", self.header_files.is_some(), &[Webhook, Otlp]),
            ("resource", self.resource.is_some(), &[Otlp]),
        ];
        match keys.iter().find(|(_, given, kinds)| *given && !kinds.contains(&self.kind)) {
            Some((key, _, _)) => Err(format!("sink {:?}: {key} is for sinks of another kind", self.name)),
            None => Ok(()),
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

/// Sinks: not too many, each with a name of its own.
pub(super) fn sinks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Sink>, D::Error> {
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
