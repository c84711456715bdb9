//! The least work for a request that its service answered well, of a line in Traefik's common format or an object: only the
//! service, the time and the request are counted.

use crate::gateway::glance::{asked, host_of, is_nothing, is_served, later, number, plain};
use crate::gateway::json::skim::{Place, skim};
use crate::gateway::json_lines::stamp_of;
use crate::gateway::stamp::{self, Zone};
use crate::gateway::template::{Spans, Template};
use crate::gateway::{Asked, LINE_LIMIT_BYTES, Served};

/// Which fields of the format tell what is counted.
#[derive(Debug)]
pub(super) struct Glance {
    status: usize,
    service: usize,
    request: usize,
    begun: usize,
    duration_ms: usize,
    spans: Spans,
}

impl Glance {
    /// None: the format does not allow it.
    pub(super) fn new(template: &Template) -> Option<Self> {
        Some(Self {
            status: template.place("s")?,
            service: template.place("service")?,
            request: template.place("r")?,
            begun: template.place("t")?,
            duration_ms: template.place("ms")?,
            spans: Spans::default(),
        })
    }

    /// What is counted of a line. None: it is to be read whole.
    pub(super) fn served<'a>(&mut self, template: &Template, line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
        if line.len() > LINE_LIMIT_BYTES || !template.plain(line, &mut self.spans) {
            return None;
        }
        let text = |place: usize| self.spans.text(line, place);
        if !is_served(text(self.status)) {
            return None;
        }
        let upstream = match text(self.service) {
            service if is_nothing(service) => None,
            service => Some(host_of(service)?),
        };
        let (begun, _) = stamp::clf(text(self.begun), zone)?;
        let duration_us = number(text(self.duration_ms))?.checked_mul(1_000)?;
        Some(Served {
            upstream,
            took_us: u64::try_from(duration_us).ok(),
            at: Some(later(begun, duration_us)),
            request: Some(Asked::Line(text(self.request))),
        })
    }
}

const PLACES: [Place; 10] = [
    ("", "DownstreamStatus"),
    ("", "OriginStatus"),
    ("", "ServiceAddr"),
    ("", "RetryAttempts"),
    ("", "Duration"),
    ("", "StartUTC"),
    ("", "StartLocal"),
    ("", "time"),
    ("", "RequestMethod"),
    ("", "RequestPath"),
];

/// The same of a line that is an object.
pub(super) fn of_object<'a>(line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
    if line.len() > LINE_LIMIT_BYTES {
        return None;
    }
    let [status, from_origin, address, retries, duration, utc, local, time, method, path] = skim(line, &PLACES)?;
    let is_plain = is_served(status.text()??)
        && from_origin.text()?.is_none_or(is_served)
        && retries.text()?.is_none_or(|retries| retries == b"0");
    let address = address.text()?.filter(|address| is_plain && !is_nothing(address) && !address.contains(&b'/'))?;
    let (utc, local, time) = (plain(utc)?, plain(local)?, plain(time)?);
    let duration_us = duration.text()?.map_or(Some(None), |ns| number(ns).map(|ns| Some(ns / 1_000)))?;
    let begun = stamp_of(utc.or(local), zone).map(|begun| later(begun, duration_us.unwrap_or(0)));
    Some(Served {
        upstream: Some(std::str::from_utf8(address).ok()?),
        took_us: duration_us.and_then(|us| u64::try_from(us).ok()),
        at: begun.or_else(|| stamp_of(time, zone)),
        request: asked(method, path),
    })
}
