//! The least work for a request that was answered well: of such entries, which are nearly all, only the upstream, the time and the
//! request are counted.

use super::{Caddy, duration_us};
use crate::gateway::glance::{asked, is_served, plain};
use crate::gateway::json::skim::{Place, skim};
use crate::gateway::{LINE_LIMIT_BYTES, Served};

const PLACES: [Place; 8] = [
    ("", "logger"),
    ("", "status"),
    ("", "upstream"),
    ("", "duration"),
    ("", "ts"),
    ("", "time"),
    ("request", "method"),
    ("request", "uri"),
];

/// What is counted of a line. None: it is to be read whole.
pub(super) fn served<'a>(caddy: &Caddy, line: &'a [u8]) -> Option<Served<'a>> {
    if line.len() > LINE_LIMIT_BYTES {
        return None;
    }
    let [logger, status, upstream, duration, ts, time, method, uri] = skim(line, &PLACES)?;
    let sub_logger = logger.text()??.strip_prefix(b"http.log.access")?;
    if !is_served(status.text()??) || !matches!(sub_logger, [] | [b'.', ..]) {
        return None;
    }
    let upstream = match upstream.text()? {
        None | Some(b"") => None,
        Some(upstream) => Some(std::str::from_utf8(upstream).ok()?),
    };
    let at = match ts.text()?.or(time.text()?) {
        Some(text) => caddy.stamp(std::str::from_utf8(text).ok()?),
        None => None,
    };
    let took_us = plain(duration)?.and_then(duration_us);
    Some(Served { upstream, took_us, at, request: asked(method, uri) })
}
