//! The least work for a request, or a connection of the stream module, that its one attempt served: of such lines, which are
//! nearly all, only the upstream, the time and how long it took are counted. Whatever is not plainly such a line is left to the
//! whole reading; a test holds both to the same answer.

use super::access;
use super::fields::Var;
use super::format::Format;
use crate::gateway::stamp::{self, Zone};
use crate::gateway::{Asked, Served, Stamp};

/// Most values of a line that is read so.
const MOST_VALUES: usize = 32;
/// The longest time that is remembered, bytes.
const MOST_TIME_BYTES: usize = 40;

/// Which values of a format tell what is counted.
#[derive(Debug)]
pub(super) struct Glance {
    /// Of the stream module, whose only good status is 200.
    stream: bool,
    status: usize,
    upstream: Option<usize>,
    upstream_status: Option<usize>,
    /// How long the attempt took, or what comes nearest to that.
    took: Option<usize>,
    time: Option<usize>,
    request: Option<usize>,
    /// The time of the line before: many lines are of one second.
    last: Option<(Vec<u8>, Option<Stamp>)>,
}

impl Glance {
    /// None: the format does not allow it.
    pub(super) fn new(format: &Format, stream: bool) -> Option<Self> {
        if !format.is_plain() || format.variables().count() > MOST_VALUES {
            return None;
        }
        let place = |wanted: Var| format.variables().position(|var| var == Some(wanted));
        // Attempts are known by these too, and whether there was one only shows by all of them.
        let others = [Var::UpstreamStatus, Var::ResponseTime, Var::ConnectTime];
        if place(Var::UpstreamAddr).is_none() && others.into_iter().any(|var| place(var).is_some()) {
            return None;
        }
        Some(Self {
            stream,
            status: place(Var::Status)?,
            upstream: place(Var::UpstreamAddr),
            upstream_status: place(Var::UpstreamStatus),
            took: [Var::ResponseTime, Var::HeaderTime, Var::RequestTime].into_iter().find_map(place),
            time: [Var::Msec, Var::TimeIso, Var::TimeLocal].into_iter().find_map(place),
            request: place(Var::Request),
            last: None,
        })
    }

    /// What is counted of a line. None: it is to be read whole.
    pub(super) fn served<'a>(&mut self, format: &Format, line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
        let mut values: [&[u8]; MOST_VALUES] = [b""; MOST_VALUES];
        format.first_values(line, &mut values)?;
        let good = |at: usize| access::status_number(values[at]).filter(|status| *status < 400);
        good(self.status).filter(|status| !self.stream || *status == 200)?;
        // A list of attempts, an escaped value, or none at all where the line ought to tell one: read whole.
        let one = |value: &[u8]| !value.is_empty() && !value.iter().any(|byte| matches!(byte, b' ' | b',' | b'\\'));
        let upstream = match self.upstream.map(|at| values[at]) {
            None | Some(b"-") => None,
            Some(address) if one(address) => Some(std::str::from_utf8(address).ok()?),
            Some(_) => return None,
        };
        if let Some(at) = self.upstream_status.filter(|_| upstream.is_some()) {
            good(at)?;
        }
        let took_us = match self.took.map(|at| values[at]) {
            Some(time) if upstream.is_some() => Some(access::microseconds(time)?),
            _ => None,
        };
        let request = self.request.map(|at| Asked::Line(values[at]));
        Some(Served { upstream, took_us, at: self.at(&values, zone)?, request })
    }

    /// The line's time, where it tells one. None: it is to be read whole.
    fn at(&mut self, values: &[&[u8]; MOST_VALUES], zone: &Zone) -> Option<Option<Stamp>> {
        let Some(text) = self.time.map(|at| values[at]) else { return Some(None) };
        if let Some((last, stamp)) = &self.last
            && last == text
        {
            return Some(*stamp);
        }
        if text.contains(&b'\\') {
            return None;
        }
        let stamp = stamp::whole(text, zone);
        if text.len() <= MOST_TIME_BYTES {
            self.last = Some((text.to_vec(), stamp));
        }
        Some(stamp)
    }
}
