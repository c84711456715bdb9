//! OpenTelemetry's protocol: OTLP over HTTP, as protobuf. Each message becomes one log record in a request of its own, so
//! that what becomes of one is known of that one.

use prost::Message as _;

use super::Failed;
use super::headers::Headers;
use super::http::{Answer, Client};
use super::message::Message;
use super::plan::Tell;
use super::settings::{Otlp, Target};
use super::webhook::judge;
use crate::model::AlertStep;

mod schema;

use schema::*;

/// The path at which OTLP takes logs.
const LOGS: &str = "/v1/logs";
/// What the attributes of a record begin with.
const PREFIX: &str = "why502.";
/// OpenTelemetry's numbers for what people must know, what they should, and what is over.
const ERROR: i32 = 17;
const WARN: i32 = 13;
const INFO: i32 = 9;

/// An OTLP receiver that is ready to be told.
pub struct Exporter {
    client: Client,
    target: Target,
    headers: Headers,
    resource: Resource,
}

impl Exporter {
    /// Reads what the headers come from.
    pub fn new(otlp: &Otlp, client: Client) -> Result<Self, String> {
        let named = matches!(otlp.target.uri.path(), "" | "/");
        let target = if named { otlp.target.below(LOGS) } else { otlp.target.clone() };
        let own = [("service.name", "why502"), ("service.version", env!("CARGO_PKG_VERSION"))];
        let mut resource =
            std::collections::BTreeMap::from(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        resource.extend(otlp.resource.clone());
        let attributes = resource.into_iter().map(|(name, value)| attribute(&name, Value::Text(value))).collect();
        let headers = Headers::new(&otlp.headers, &otlp.header_files)?;
        Ok(Self { client, target, headers, resource: Resource { attributes } })
    }

    /// Posts a message written at `at_us`; done once the other side has taken it.
    pub async fn deliver(&self, tell: &Tell, message: &Message, at_us: i64) -> Result<(), Failed> {
        let mut headers = self.headers.current().map_err(Failed::message)?;
        headers.push(("Content-Type".to_owned(), "application/x-protobuf".to_owned()));
        let request = self.request(record(tell, message, at_us)).encode_to_vec();
        let answer = self.client.post(&self.target, &headers, request).await.map_err(Failed::sink)?;
        // A token that is wrong today may be right tomorrow: it is not given up for that, as the protocol would have it.
        judge(&self.target, answer.status)?;
        taken(&self.target, &answer)
    }

    fn request(&self, record: LogRecord) -> ExportLogsServiceRequest {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let scope = Some(InstrumentationScope { name: "why502.incidents".to_owned(), version });
        let scope_logs = vec![ScopeLogs { scope, log_records: vec![record] }];
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { resource: Some(self.resource.clone()), scope_logs }],
        }
    }
}

/// A success may still refuse the record, and then for good. A body that is no answer of OTLP refuses nothing.
fn taken(target: &Target, answer: &Answer) -> Result<(), Failed> {
    let told = ExportLogsServiceResponse::decode(answer.body.as_slice()).unwrap_or_default();
    match told.partial_success {
        Some(part) if part.rejected_log_records > 0 => {
            let why: String = part.error_message.chars().take(200).collect();
            Err(Failed::hopeless(format!("{}: refused the record: {why}", target.shown())))
        }
        _ => Ok(()),
    }
}

fn record(tell: &Tell, message: &Message, at_us: i64) -> LogRecord {
    let (severity_number, severity_text) = match (tell.step, message.severity.as_str()) {
        (AlertStep::Resolved, _) => (INFO, "info"),
        (_, "critical") => (ERROR, "critical"),
        (_, _) => (WARN, "warning"),
    };
    LogRecord {
        time_unix_nano: nanos(happened_us(tell, at_us)),
        observed_time_unix_nano: nanos(at_us),
        severity_number,
        severity_text: severity_text.to_owned(),
        body: any(Value::Text(message.sentence.clone())),
        attributes: attributes(message),
        event_name: format!("why502.incident.{}", message.step),
    }
}

/// When that happened which is told.
fn happened_us(tell: &Tell, at_us: i64) -> i64 {
    let incidents = tell.incidents.iter();
    let happened_us = match tell.step {
        AlertStep::Opened => incidents.map(|one| one.first_seen_us).min(),
        AlertStep::Resolved => incidents.filter_map(|one| one.resolved_us).max(),
        AlertStep::Changed | AlertStep::Again => None,
    };
    happened_us.map_or(at_us, |happened_us| happened_us.min(at_us))
}

fn nanos(at_us: i64) -> u64 {
    u64::try_from(at_us).unwrap_or(0).saturating_mul(1_000)
}

fn attributes(message: &Message) -> Vec<KeyValue> {
    let count = i64::try_from(message.count).unwrap_or(i64::MAX);
    let own = [
        ("incident.id", Value::Text(message.key.clone())),
        ("step", Value::Text(message.step.clone())),
        ("delivery", Value::Text(message.delivery.clone())),
        ("confidence", Value::Double(message.confidence)),
        ("count", Value::Int(count)),
        ("first_seen", Value::Text(message.first_seen.clone())),
        ("last_seen", Value::Text(message.last_seen.clone())),
        ("upstreams", list(message.upstreams.clone())),
        ("gateways", list(message.gateways.clone())),
        ("evidence", list(message.evidence_lines().collect())),
        ("missing", list(message.missing.clone())),
        ("advice", list(message.advice.clone())),
        ("ask", Value::Text(message.ask.clone())),
    ];
    // Family, cause, service, upstream, host and gateway are labels, with those that the configuration adds.
    let labels = message.labels.iter().filter(|(name, _)| *name != "alertname");
    let labels = labels.map(|(name, value)| (name.as_str(), Value::Text(value.clone())));
    own.into_iter().chain(labels).map(|(name, value)| attribute(&format!("{PREFIX}{name}"), value)).collect()
}

fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: any(value) }
}

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn list(texts: Vec<String>) -> Value {
    let values = texts.into_iter().filter_map(|text| any(Value::Text(text))).collect();
    Value::List(ArrayValue { values })
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_record_that_is_refused_within_a_success_is_not_taken() {
        let target = Target { uri: "http://a/".parse().unwrap(), tls: false, host: "a".to_owned(), port: 80 };
        let answered = |rejected_log_records| {
            let part = ExportLogsPartialSuccess { rejected_log_records, error_message: "too old".to_owned() };
            let body = ExportLogsServiceResponse { partial_success: Some(part) }.encode_to_vec();
            taken(&target, &Answer { status: StatusCode::OK, body })
        };
        let refused = answered(1).unwrap_err();
        assert!(refused.hopeless && refused.why.ends_with("too old"), "{refused:?}");
        assert_eq!(answered(0), Ok(()), "a warning refuses nothing");
        let not_otlp = Answer { status: StatusCode::OK, body: b"<html>".to_vec() };
        assert_eq!(taken(&target, &not_otlp), Ok(()));
    }
}
