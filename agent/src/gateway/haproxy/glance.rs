//! The least work for a request that its server answered well: of such lines, which are nearly all, only the server, the time
//! and the request are counted.

use std::net::IpAddr;

use crate::gateway::glance::{is_nothing, is_served, later, number, us_of_ms};
use crate::gateway::stamp::{self, Zone};
use crate::gateway::template::{Spans, Template};
use crate::gateway::{Asked, LINE_LIMIT_BYTES, Served};

/// Which fields of a format tell what is counted.
#[derive(Debug)]
pub(super) struct Glance {
    status: usize,
    state: usize,
    backend: usize,
    server: usize,
    retries: Option<usize>,
    address: Option<(usize, usize)>,
    request: usize,
    begun: usize,
    header_ms: Option<usize>,
    duration_ms: Option<usize>,
    spans: Spans,
}

impl Glance {
    /// None: the format does not allow it.
    pub(super) fn new(template: &Template) -> Option<Self> {
        let place = |name: &str| template.place(name);
        let (address, port) = (place("si").or(place("[dst]")), place("sp"));
        Some(Self {
            status: place("ST")?,
            state: place("tsc").or(place("ts"))?,
            backend: place("b")?,
            server: place("s")?,
            retries: place("rc"),
            address: address.zip(port),
            request: place("r")?,
            begun: ["tr", "t", "trg", "trl", "T", "Tl"].into_iter().find_map(place)?,
            header_ms: place("Tr"),
            duration_ms: place("Ta").or(place("Tt")),
            spans: Spans::default(),
        })
        .filter(|_| address.is_some() == port.is_some())
    }

    /// What is counted of a line without its frame. None: it is to be read whole.
    pub(super) fn served<'a>(&mut self, template: &Template, line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
        if line.len() > LINE_LIMIT_BYTES || !template.plain(line, &mut self.spans) {
            return None;
        }
        let text = |place: usize| self.spans.text(line, place);
        let retried = self.retries.is_some_and(|place| text(place) != b"0");
        // D: the server that a cookie named was down, and another one served.
        let ended_well = matches!(text(self.state), [b'-', b'-'] | [b'-', b'-', b'A'..=b'C' | b'E'..=b'Z' | b'-', _]);
        if !is_served(text(self.status)) || !ended_well || retried {
            return None;
        }
        let (begun, rest) = stamp::clf(text(self.begun), zone)?;
        let told = |place: Option<usize>| place.map_or(Some(None), |place| number(text(place)).map(Some));
        let (header_ms, duration_ms) = (told(self.header_ms)?, told(self.duration_ms)?);
        rest.is_empty().then_some(Served {
            upstream: Some(self.upstream(line)?),
            took_us: header_ms.or(duration_ms).and_then(us_of_ms),
            at: Some(later(begun, duration_ms.unwrap_or(0).checked_mul(1_000)?)),
            request: Some(Asked::Line(text(self.request))),
        })
    }

    /// The server's address where the format has it, else `backend/server`, as it stands in the line.
    fn upstream<'a>(&self, line: &'a [u8]) -> Option<&'a str> {
        let text = |place: usize| self.spans.text(line, place);
        // One that serves from itself (`<STATS>`), or a name in quotes.
        let is_named = |name: &[u8]| !is_nothing(name) && !name.contains(&b'"') && name.trim_ascii() == name;
        if !is_named(text(self.backend)) || !is_named(text(self.server)) || text(self.server).starts_with(b"<") {
            return None;
        }
        let (first, last, joint) = match self.address {
            Some((ip, port)) if !is_nothing(text(ip)) => (ip, port, b':'),
            _ => (self.backend, self.server, b'/'),
        };
        let whole = self.spans.between(line, first, last);
        let joined =
            whole.len() == text(first).len() + 1 + text(last).len() && whole.get(text(first).len()) == Some(&joint);
        if joint == b':' {
            let ip: IpAddr = std::str::from_utf8(text(first)).ok()?.parse().ok()?;
            let port = number(text(last)).filter(|port| (1..=65_535).contains(port));
            if !ip.is_ipv4() || port.is_none() || text(last).starts_with(b"0") {
                return None;
            }
        }
        std::str::from_utf8(whole).ok().filter(|_| joined)
    }
}
