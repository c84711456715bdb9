//! cloudflared's own log, text or JSON: why it could not reach a tunnel's origin, in the words of Go's libraries.

use super::stamp::{self, Zone};
use super::text_lines::{TextLines, notice, told, value};
use super::{Line, Origin, Reader, Signal, Stamp};
use super::{go_error, json};

/// A reader of that log.
pub(super) fn reader(zone: &Zone) -> Box<dyn Reader> {
    Box::new(TextLines { zone: zone.clone(), line: read, otherwise: "no line of cloudflared" })
}

fn read(text: &str, at: Option<Stamp>, zone: &Zone) -> Option<Line> {
    if text.starts_with('{') {
        return by_object(text, at, zone);
    }
    let (stamp, rest) = match stamp::rfc3339(text.as_bytes(), zone) {
        Some((stamp, rest)) => (Some(stamp), std::str::from_utf8(rest).ok()?),
        None => (at, text),
    };
    let (level, said) = rest.trim_start().split_once(' ')?;
    if !matches!(level, "DBG" | "INF" | "WRN" | "ERR" | "FTL") {
        return None;
    }
    let error = value(said, "error").unwrap_or_default();
    Some(meaning(stamp, error, value(said, "originService"), said))
}

fn by_object(text: &str, at: Option<Stamp>, zone: &Zone) -> Option<Line> {
    let object = json::object(text.as_bytes()).ok()?;
    object.text("level")?;
    let at = object.text("time").and_then(|time| stamp::rfc3339(time.as_bytes(), zone)).map(|(at, _)| at).or(at);
    let says = object.text("message").unwrap_or_default();
    Some(meaning(at, object.text("error").unwrap_or_default(), object.text("originService"), says))
}

fn meaning(at: Option<Stamp>, error: &str, service: Option<&str>, says: &str) -> Line {
    let why = error.split_once("Unable to reach the origin service").map(|(_, why)| why);
    let Some(why) = why.or(Some(error).filter(|error| error.contains("context canceled"))) else {
        let lifecycle = ["Starting tunnel", "Registered tunnel", "Unregistered tunnel", "Initiating graceful shutdown"];
        let lifecycle = lifecycle.iter().any(|start| says.starts_with(start));
        return notice(at, if lifecycle { Signal::GatewayLifecycle } else { Signal::Noise }, says);
    };
    let why = why.split_once(": ").map_or(why, |(_, why)| why);
    let (signal, dialled) = go_error::classify(why);
    let mut line = told(at, signal, dialled.or_else(|| service.and_then(origin)), why);
    if let Line::Record(record) = &mut line {
        // The tunnel's own line on the request follows the one on its origin.
        record.told_again = service.is_none();
        if signal == Signal::ClientAbort {
            record.origin = Origin::Client;
        }
    }
    line
}

/// `https://caddy` as `caddy:443`; `unix:/run/a.sock` as it is.
fn origin(service: &str) -> Option<String> {
    if service.starts_with("unix:") {
        return Some(service.to_owned());
    }
    let (scheme, rest) = service.split_once("://")?;
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if scheme == "https" { 443 } else { 80 };
    Some(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_on_the_request_tells_again_what_the_line_on_its_origin_told() {
        let read = |line: &str| match reader(&Zone::utc()).read(line.as_bytes()) {
            Line::Record(record) => (record.signal, record.told_again),
            other => panic!("{other:?}"),
        };
        let error = "Unable to reach the origin service. The service may be down: dial tcp 192.0.2.7:80: i/o timeout";
        let line =
            |says: &str, rest: &str| format!("2026-11-22T10:00:01Z ERR {says} error=\"{error}\" connIndex=0 {rest}");
        assert_eq!(read(&line("", "originService=http://192.0.2.7")), (Signal::ConnectTimeout, false));
        assert_eq!(read(&line("Request failed", "dest=https://a/")), (Signal::ConnectTimeout, true));
        let abort = "ERR  error=\"context canceled\" connIndex=0 originService=http://192.0.2.7";
        assert_eq!(read(abort), (Signal::ClientAbort, false));
    }
}
