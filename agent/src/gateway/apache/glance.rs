//! The least work for a request that was answered well: of such lines, which are nearly all, only the worker, the time and the
//! request are counted.

use crate::gateway::glance::{host_of, is_nothing, is_served, later, number};
use crate::gateway::stamp::{self, Zone};
use crate::gateway::template::{Spans, Template};
use crate::gateway::{LINE_LIMIT_BYTES, Served};

/// Which fields of a format tell what is counted.
#[derive(Debug)]
pub(super) struct Glance {
    status: usize,
    request: usize,
    begun: usize,
    duration_us: Option<usize>,
    note: Option<usize>,
    worker: Option<usize>,
    log_id: Option<usize>,
    spans: Spans,
}

impl Glance {
    /// None: the format does not allow it.
    pub(super) fn new(template: &Template) -> Option<Self> {
        let place = |name: &str| template.place(name);
        let in_other_units = ["T:us", "T:ms", "T:", "T:s"].into_iter().any(|name| place(name).is_some());
        Some(Self {
            status: place("s")?,
            request: place("r")?,
            begun: place("t")?,
            duration_us: place("D"),
            note: place("n:error-notes"),
            worker: place("e:balancer_worker_name"),
            log_id: place("L"),
            spans: Spans::default(),
        })
        .filter(|glance| glance.duration_us.is_some() || !in_other_units)
    }

    /// What is counted of a line. None: it is to be read whole.
    pub(super) fn served<'a>(&mut self, template: &Template, line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
        if line.len() > LINE_LIMIT_BYTES || !template.plain(line, &mut self.spans) {
            return None;
        }
        let said =
            |place: Option<usize>| place.map(|place| self.spans.text(line, place)).filter(|text| !is_nothing(text));
        if !is_served(self.spans.text(line, self.status)) || said(self.note).is_some() {
            return None;
        }
        // The error log tells something of the request too, such as a member that was tried before.
        if said(self.log_id).is_some() {
            return None;
        }
        let upstream = match said(self.worker) {
            Some(worker) if worker.contains(&b'|') => return None,
            Some(worker) => Some(host_of(worker)?),
            None => None,
        };
        let (begun, _) = stamp::clf(self.spans.text(line, self.begun), zone)?;
        let duration_us = said(self.duration_us).map_or(Some(0), number)?;
        Some(Served {
            upstream,
            response_us: None,
            at: Some(later(begun, duration_us)),
            request: Some(self.spans.text(line, self.request)),
        })
    }
}
