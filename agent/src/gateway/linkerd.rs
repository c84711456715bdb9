//! Linkerd's proxy: lines of `linkerd_...` modules with spans such as `endpoint{addr=A}` before them. A refused or failed request
//! tells its error; the spans tell which endpoint it was for.

use super::json::{self, Object, Value};
use super::stamp::{self, Zone};
use super::text_lines::{TextLines, notice, told, value};
use super::{Line, Reader, Signal, Stamp};

/// A reader of the proxy's log.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(TextLines { zone: zone.clone(), line: read, otherwise: "no line of Linkerd's proxy" })
}

fn read(text: &str, at: Option<Stamp>, zone: &Zone) -> Option<Line> {
    if text.starts_with('{') {
        return of_text(&as_text(&json::object(text.as_bytes()).ok()?)?, at, zone);
    }
    of_text(text, at, zone)
}

/// An entry of the log as JSON in the words of the one as text.
fn as_text(entry: &Object) -> Option<String> {
    let said = entry.get("fields").and_then(Value::object)?;
    let mut line = format!("{} ", entry.text("level")?);
    if let Some(Value::List(spans)) = entry.get("spans") {
        for span in spans.iter().filter_map(Value::object) {
            let told = span.0.iter().filter(|(key, _)| key != "name");
            let told: Vec<String> = told.filter_map(|(key, value)| Some(format!("{key}={}", value.text()?))).collect();
            line += &format!("{}{{{}}}:", span.text("name").unwrap_or_default(), told.join(" "));
        }
    }
    line += &format!(" {}: {}", entry.text("target")?, said.text("message").unwrap_or_default());
    if let Some(error) = said.text("error") {
        line += &format!(" error={error}");
    }
    Some(line)
}

fn of_text(text: &str, at: Option<Stamp>, zone: &Zone) -> Option<Line> {
    let level =
        text.split_whitespace().find(|word| matches!(*word, "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "ERR!"))?;
    let module = text.find("linkerd_").or_else(|| text.find("linkerd2_"))?;
    let at = stamp::rfc3339(text.as_bytes(), zone).map(|(at, _)| at).or(at);
    let (spans, said) = (text.get(..module)?, text.get(module..)?);
    let said = said.split_once(": ").map_or(said, |(_, said)| said);
    let signal = signal(said);
    if matches!(signal, Signal::Noise) || level == "DEBUG" || level == "TRACE" {
        return Some(notice(at, Signal::Noise, said));
    }
    let upstream = endpoint(spans).or_else(|| addressed(said)).filter(|_| signal.is_failure());
    Some(told(at, signal, upstream, said))
}

/// The innermost of the spans that names an address: the endpoint, else what the connection or the proxy is for. An
/// application behind the inbound side is on this very host.
fn endpoint(spans: &str) -> Option<String> {
    for span in ["endpoint{addr=", "target.addr=", "proxy{addr="] {
        if let Some((_, rest)) = spans.rsplit_once(span) {
            return rest.split(['}', ' ']).next().map(str::to_owned);
        }
    }
    let inbound = spans.split_once("inbound:server{").map(|(_, rest)| rest)?;
    value(inbound, "port").map(|port| format!("127.0.0.1:{port}"))
}

/// `... (address: 10.0.0.1:80)`, as before spans told it.
fn addressed(said: &str) -> Option<String> {
    let (_, rest) = said.rsplit_once("(address: ")?;
    rest.split(')').next().map(str::to_owned)
}

fn signal(said: &str) -> Signal {
    const TEXTS: [(&str, Signal); 20] = [
        ("unauthorized", Signal::LbLocalResponse),
        ("service unavailable", Signal::NoLiveUpstream),
        ("fail-fast", Signal::NoLiveUpstream),
        ("failfast", Signal::NoLiveUpstream),
        ("no ready endpoint", Signal::NoLiveUpstream),
        ("(os error 111)", Signal::ConnectRefused),
        ("(os error 113)", Signal::ConnectUnreachable),
        ("(os error 101)", Signal::ConnectUnreachable),
        ("(os error 99)", Signal::LocalPortExhausted),
        ("(os error 24)", Signal::GatewayResource),
        ("(os error 104)", Signal::ResetBeforeHeaders),
        ("(os error 32)", Signal::ResetBeforeHeaders),
        ("connect timed out", Signal::ConnectTimeout),
        ("error trying to connect: request timed out", Signal::ConnectTimeout),
        ("TLS detection", Signal::Noise),
        ("connection closed before message completed", Signal::ClosedBeforeHeaders),
        ("error trying to connect", Signal::ConnectFailed),
        ("Failed to connect", Signal::ConnectFailed),
        ("response timeout", Signal::ReadTimeout),
        ("request timed out", Signal::ReadTimeout),
    ];
    TEXTS.iter().find(|(text, _)| said.contains(text)).map_or(Signal::Noise, |(_, signal)| *signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_proxies_name_the_address_behind_the_error() {
        let old = "linkerd-proxy ERR! [  4300.896499s] linkerd2_proxy::app::errors unexpected error: error trying to connect: ";
        for (error, signal, upstream) in [
            (
                "No route to host (os error 113) (address: 192.0.2.7:80)",
                Signal::ConnectUnreachable,
                Some("192.0.2.7:80"),
            ),
            ("request timed out", Signal::ConnectTimeout, None),
        ] {
            let Line::Record(record) = reader(&Zone::utc()).read(format!("{old}{error}").as_bytes()) else {
                panic!("{error}")
            };
            let found = record.attempts.first().and_then(|attempt| attempt.upstream.as_deref());
            assert_eq!((record.signal, found), (signal, upstream), "{error}");
        }
    }
}
