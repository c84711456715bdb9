//! The least work for a request that its upstream answered well: of such lines, which are nearly all, only the upstream, the
//! time and the request are counted.

use crate::gateway::glance::{is_nothing, is_served, later, number, us_of_ms};
use crate::gateway::stamp::{self, Zone};
use crate::gateway::template::{Spans, Template};
use crate::gateway::{Asked, LINE_LIMIT_BYTES, Served, Stamp};

/// Which fields of a format tell what is counted.
#[derive(Debug)]
pub(super) struct Glance {
    code: usize,
    host: usize,
    flags: Option<usize>,
    details: Option<usize>,
    hosts: Option<usize>,
    attempts: Option<usize>,
    header_ms: [Option<usize>; 2],
    duration_ms: Option<usize>,
    begun: Option<usize>,
    method: usize,
    protocol: usize,
    spans: Spans,
}

impl Glance {
    /// None: the format does not allow it.
    pub(super) fn new(template: &Template) -> Option<Self> {
        let place = |name: &str| template.place(name);
        let (method, protocol) = (place("method")?, place("protocol")?);
        // They stand as in a request line.
        (place("path") == Some(method + 1) && protocol == method + 2).then_some(())?;
        Some(Self {
            code: place("code")?,
            host: place("host")?,
            flags: place("flags"),
            details: place("details"),
            hosts: place("hosts"),
            attempts: place("attempts"),
            header_ms: [place("header_ms"), place("service_ms")],
            duration_ms: place("duration"),
            begun: place("start"),
            method,
            protocol,
            spans: Spans::default(),
        })
    }

    /// What is counted of a line, or of what follows the stamp `at`. None: it is to be read whole.
    pub(super) fn served<'a>(
        &mut self,
        template: &Template,
        line: &'a [u8],
        at: Option<Stamp>,
        zone: &Zone,
    ) -> Option<Served<'a>> {
        if line.len() > LINE_LIMIT_BYTES || !template.plain(line, &mut self.spans) {
            return None;
        }
        let told = |place: Option<usize>| place.map(|place| self.spans.text(line, place));
        let said = |place: Option<usize>| told(place).filter(|text| !is_nothing(text) && *text != b"null");
        let is_plain = told(self.flags).is_none_or(is_nothing)
            && said(self.details).is_none_or(|details| details == b"via_upstream")
            && said(self.attempts).is_none_or(|attempts| attempts == b"1")
            && said(self.hosts).is_none_or(|hosts| !hosts.contains(&b','));
        if !is_plain || !is_served(self.spans.text(line, self.code)) {
            return None;
        }
        let host =
            said(Some(self.host)).filter(|host| !host.starts_with(b"tcp://") && !host.starts_with(b"unix://"))?;
        let told = |place: Option<usize>| said(place).map_or(Some(None), |text| number(text).map(Some));
        let [header_ms, service_ms] = self.header_ms.map(told);
        let (header_ms, duration_ms) = (header_ms?.or(service_ms?), told(self.duration_ms)?);
        let begun = match (at, said(self.begun)) {
            (Some(at), _) => Some(at),
            (None, Some(text)) => Some(stamp::rfc3339(text, zone).filter(|(_, rest)| rest.is_empty())?.0),
            (None, None) => None,
        };
        let after_us = duration_ms.unwrap_or(0).checked_mul(1_000)?;
        Some(Served {
            upstream: Some(std::str::from_utf8(host).ok()?),
            took_us: header_ms.or(duration_ms).and_then(us_of_ms),
            at: begun.map(|begun| later(begun, after_us)),
            request: Some(Asked::Line(self.spans.between(line, self.method, self.protocol))),
        })
    }
}

/// Envoy's default formats begin with a stamp in brackets; the time, and the line from the first quote on.
pub(super) fn after_stamp<'a>(line: &'a [u8], zone: &Zone) -> Option<(Stamp, &'a [u8])> {
    let inner = line.strip_prefix(b"[")?;
    let (at, rest) = stamp::rfc3339(inner, zone)?;
    let is_one_word = inner.get(10) == Some(&b'T');
    rest.strip_prefix(b"] ").filter(|rest| is_one_word && rest.first() == Some(&b'"')).map(|rest| (at, rest))
}
