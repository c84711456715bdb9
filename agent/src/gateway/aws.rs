//! Access logs of AWS's application and classic load balancers: columns by position, texts in quotes. AWS appends columns over
//! time and people abridge lines, so only the columns up to the target's status are counted from the left; all later ones are
//! counted from the request, the first text in quotes. Quotes inside texts are escaped.

use super::stamp::{self, Zone};
use super::{Attempt, Line, Origin, Reader, Record, Signal, Stamp};
use super::{apache, line};

/// A reader of an application load balancer's log.
pub(super) fn alb(zone: &Zone) -> Box<dyn Reader> {
    Box::new(Aws { zone: zone.clone(), record: of_application })
}

/// A reader of a classic load balancer's log.
pub(super) fn clb(zone: &Zone) -> Box<dyn Reader> {
    Box::new(Aws { zone: zone.clone(), record: of_classic })
}

#[derive(Debug)]
struct Aws {
    zone: Zone,
    record: fn(&Columns, &Zone) -> Option<Record>,
}

impl Reader for Aws {
    fn read(&mut self, line: &[u8]) -> Line {
        let body = match line::trim(line) {
            Ok(body) => body,
            Err(unparsed) => return unparsed,
        };
        let read = |body: &[u8]| {
            let record = (self.record)(&Columns::of(&String::from_utf8_lossy(body)), &self.zone)?;
            Some(Line::Record(Box::new(record)))
        };
        let read = read(body).or_else(|| line::within(body, &self.zone, |framed| read(framed.body)));
        read.unwrap_or_else(|| Line::Unparsed("not the columns of this load balancer".to_owned()))
    }
}

/// Columns kept of one line.
const MOST_COLUMNS: usize = 64;

/// The columns of a line: bare words up to the first text in quotes, and all from there on.
struct Columns {
    bare: Vec<String>,
    rest: Vec<String>,
}

impl Columns {
    fn of(text: &str) -> Self {
        let mut columns = Self { bare: Vec::new(), rest: Vec::new() };
        let mut text = text.trim_start();
        while !text.is_empty() && columns.bare.len() + columns.rest.len() < MOST_COLUMNS {
            let quoted = text.strip_prefix('"');
            let (column, after) = match quoted {
                Some(inner) => inner.split_once('"').unwrap_or((inner, "")),
                None => text.split_once(' ').unwrap_or((text, "")),
            };
            let list = if quoted.is_some() || !columns.rest.is_empty() { &mut columns.rest } else { &mut columns.bare };
            list.push(column.to_owned());
            text = after.trim_start();
        }
        columns
    }

    /// A bare column that tells something.
    fn bare(&self, at: usize) -> Option<&str> {
        self.bare.get(at).map(String::as_str).filter(|text| *text != "-")
    }

    /// A column counted from the request, which is 0.
    fn later(&self, at: usize) -> Option<&str> {
        self.rest.get(at).map(String::as_str).filter(|text| !matches!(*text, "-" | ""))
    }

    /// A time in seconds as microseconds; None where it is -1.
    fn us(&self, at: usize) -> Option<u64> {
        super::json_lines::scaled_us(self.bare(at), 1e6)
    }
}

/// `scheme://host:port/path` behind the method.
fn request(columns: &Columns) -> (Option<String>, Option<String>) {
    columns.later(0).map_or((None, None), apache::access::request_parts)
}

fn at(columns: &Columns, column: usize, zone: &Zone) -> Option<Stamp> {
    let (at, rest) = stamp::rfc3339(columns.bare(column)?.as_bytes(), zone)?;
    rest.is_empty().then_some(at)
}

fn client(text: &str) -> String {
    text.rsplit_once(':').map_or(text, |(ip, _)| ip).to_owned()
}

fn origin(signal: Signal) -> Origin {
    match signal {
        Signal::Ok | Signal::AppStatus | Signal::BodyTruncated => Origin::App,
        Signal::ClientAbort | Signal::ClientError => Origin::Client,
        Signal::StatusOnly | Signal::Unknown => Origin::Unknown,
        _ => Origin::Gateway,
    }
}

/// `type time elb client target request_time target_time response_time status target_status ...`.
fn of_application(columns: &Columns, zone: &Zone) -> Option<Record> {
    let at = at(columns, 1, zone)?;
    let status: u16 = columns.bare(8)?.parse().ok()?;
    let from_target = columns.bare(9).and_then(|code| code.parse::<u16>().ok());
    let target = columns.bare(4);
    let times = [columns.us(5), columns.us(6), columns.us(7)];
    let (actions, error) = (columns.later(10), columns.later(12));
    let signal = match target {
        None => untargeted(status, actions.unwrap_or(""), error.unwrap_or("")),
        Some(_) => targeted(status, from_target, times),
    };
    let (method, path) = request(columns);
    let attempts = attempts(columns, target, from_target, signal, times);
    let retried = signal == Signal::Ok && attempts.len() > 1;
    Some(Record {
        at: Some(at),
        status: Some(status),
        origin: origin(signal),
        signal: if retried { Signal::RetriedOk } else { signal },
        attempts,
        duration_us: times.iter().copied().sum(),
        method,
        path,
        request_id: columns.later(5).map(str::to_owned),
        client: columns.bare(3).map(client),
        server: columns.later(6).map(str::to_owned),
        pool: columns.later(4).map(|group| group.split_once("targetgroup/").map_or(group, |(_, name)| name).to_owned()),
        reason: error.or(actions).map(str::to_owned),
        ..Record::default()
    })
}

/// A target was chosen. The times tell the phase: -1 is one that was not reached.
fn targeted(status: u16, from_target: Option<u16>, times: [Option<u64>; 3]) -> Signal {
    match (status, from_target, times) {
        (0 | 460, ..) => Signal::ClientAbort,
        (..400, Some(_), _) => Signal::Ok,
        (_, Some(code), _) if code == status => Signal::AppStatus,
        (500.., Some(_), _) => Signal::ResponseInvalid,
        (_, Some(_), _) => Signal::LbLocalResponse,
        (504, None, [None, None, _]) => Signal::ConnectTimeout,
        (504, None, _) => Signal::ReadTimeout,
        (502, None, [None, None, _]) => Signal::ConnectFailed,
        (502, None, _) => Signal::NoResponseHeaders,
        (500.., None, _) => Signal::UpstreamErrorUnspecified,
        (400..500, None, _) => untargeted(status, "", ""),
        (_, None, _) => Signal::Ok,
    }
}

/// No target was chosen: by rule, for the client's fault, or because there is none.
fn untargeted(status: u16, actions: &str, error: &str) -> Signal {
    let last = actions.rsplit(',').next().unwrap_or("");
    match status {
        0 | 460 => Signal::ClientAbort,
        500.. if error.starts_with("Lambda") => Signal::ResponseInvalid,
        _ if matches!(last, "waf" | "waf-failed" | "fixed-response" | "redirect" | "authenticate") => {
            Signal::LbLocalResponse
        }
        503 => Signal::NoLiveUpstream,
        ..400 | 401 | 403 | 561 => Signal::LbLocalResponse,
        400 | 405 | 408 | 411 | 413 | 414 | 417 | 431 | 463 | 464 => Signal::ClientError,
        _ => Signal::StatusOnly,
    }
}

/// Targets tried and their statuses stand in two lists, parted by blanks; the last is the one in the fifth column.
fn attempts(
    columns: &Columns,
    target: Option<&str>,
    from_target: Option<u16>,
    signal: Signal,
    times: [Option<u64>; 3],
) -> Vec<Attempt> {
    let Some(target) = target else { return Vec::new() };
    let statuses: Vec<Option<u16>> = columns.later(14).unwrap_or("").split(' ').map(|code| code.parse().ok()).collect();
    let targets: Vec<&str> =
        columns.later(13).unwrap_or("").split(' ').filter(|target| target.contains(':')).take(16).collect();
    let before = targets.len().saturating_sub(1);
    let earlier = |(at, target): (usize, &&str)| {
        let status = statuses.get(at).copied().flatten();
        let signal = if status.is_some() { Signal::AppStatus } else { Signal::UpstreamErrorUnspecified };
        Attempt { upstream: Some((*target).to_owned()), status, signal, ..Attempt::default() }
    };
    let mut attempts: Vec<Attempt> = targets.iter().take(before).enumerate().map(earlier).collect();
    attempts.push(Attempt {
        upstream: Some(target.to_owned()),
        status: from_target,
        signal,
        header_us: times.get(1).copied().flatten(),
        ..Attempt::default()
    });
    attempts
}

/// `time elb client backend request_time backend_time response_time status backend_status ...`.
fn of_classic(columns: &Columns, zone: &Zone) -> Option<Record> {
    let at = at(columns, 0, zone)?;
    if columns.bare.len() < 9 {
        return None;
    }
    let status = columns.bare(7).map(str::parse::<u16>).transpose().ok()?;
    let backend = columns.bare(3);
    let from_backend = columns.bare(8).and_then(|code| code.parse::<u16>().ok()).filter(|code| *code > 0);
    let times = [columns.us(4), columns.us(5), columns.us(6)];
    let signal = match (status, from_backend, backend) {
        // A TCP listener has no statuses.
        (None, _, Some(_)) => Signal::Ok,
        (None, _, None) => Signal::NoLiveUpstream,
        (Some(..400), Some(_), _) => Signal::Ok,
        (Some(_), Some(_), _) => Signal::AppStatus,
        (Some(502), None, _) => Signal::ResponseInvalid,
        (Some(503), None, None) => Signal::NoLiveUpstream,
        (Some(504), None, Some(_)) => Signal::ReadTimeout,
        (Some(400 | 405 | 408 | 411 | 413 | 414 | 417 | 431 | 460), None, _) => Signal::ClientError,
        (Some(500..), None, Some(_)) => Signal::UpstreamErrorUnspecified,
        _ => Signal::StatusOnly,
    };
    let attempt = |upstream: &str| Attempt {
        upstream: Some(upstream.to_owned()),
        status: from_backend,
        signal,
        header_us: times.get(1).copied().flatten(),
        ..Attempt::default()
    };
    let (method, path) = request(columns);
    Some(Record {
        at: Some(at),
        status,
        origin: if status.is_none() { Origin::Unknown } else { origin(signal) },
        signal,
        attempts: backend.map(attempt).into_iter().collect(),
        duration_us: times.iter().copied().sum(),
        method,
        path,
        client: columns.bare(2).map(client),
        server: columns.bare(1).map(str::to_owned),
        body_bytes: columns.bare(10).and_then(|bytes| bytes.parse().ok()),
        ..Record::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_tell_the_phase() {
        let reached = Some(1000);
        assert_eq!(targeted(502, None, [None, None, None]), Signal::ConnectFailed);
        assert_eq!(targeted(502, None, [reached, reached, None]), Signal::NoResponseHeaders);
        assert_eq!(targeted(504, None, [None, None, None]), Signal::ConnectTimeout);
        assert_eq!(targeted(504, None, [reached, reached, None]), Signal::ReadTimeout);
        assert_eq!(targeted(502, Some(502), [reached, reached, reached]), Signal::AppStatus);
    }

    #[test]
    fn each_target_tried_is_an_attempt() {
        let line = "https 2026-11-22T07:00:00.000000Z app/a/1 198.51.100.7:40000 10.0.0.2:80 0.001 0.020 0.000 200 200 310 272 \"GET \
                    https://a/ HTTP/1.1\" \"curl\" - - arn:aws:x:targetgroup/t/1 \"Root=1\" \"a\" \"-\" 0 2026-11-22T06:59:59Z \
                    \"forward\" \"-\" \"-\" \"10.0.0.1:80 10.0.0.2:80\" \"- 200\" \"-\" \"-\"";
        let record = of_application(&Columns::of(line), &Zone::utc()).unwrap();
        assert_eq!(record.attempts.len(), 2);
        assert_eq!(record.attempts[0].upstream.as_deref(), Some("10.0.0.1:80"));
        assert_eq!(record.attempts[0].signal, Signal::UpstreamErrorUnspecified);
        assert_eq!((record.attempts[1].signal, record.signal), (Signal::Ok, Signal::RetriedOk));
    }

    #[test]
    fn rules_answer_without_a_target() {
        assert_eq!(untargeted(503, "forward", ""), Signal::NoLiveUpstream);
        assert_eq!(untargeted(503, "fixed-response", ""), Signal::LbLocalResponse);
        assert_eq!(untargeted(502, "forward", "LambdaInvalidResponse"), Signal::ResponseInvalid);
        assert_eq!(untargeted(463, "", ""), Signal::ClientError);
    }
}
