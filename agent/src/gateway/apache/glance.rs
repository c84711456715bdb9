//! The least work for a request that was answered well: of such lines, which are nearly all, only the worker, the time and the
//! request are counted.

use crate::gateway::glance::{host_of, is_nothing, is_served, later, number};
use crate::gateway::stamp::{self, Zone};
use crate::gateway::template::{Spans, Template};
use crate::gateway::{Asked, LINE_LIMIT_BYTES, Served};

/// Which fields of a format tell what is counted.
#[derive(Debug)]
pub(in crate::gateway) struct Glance {
    status: usize,
    request: usize,
    begun: usize,
    duration_us: Option<usize>,
    note: Option<usize>,
    worker: Option<usize>,
    /// By these the error log's lines of a request are found, so one that is told of there is read whole.
    ids: Vec<usize>,
    spans: Spans,
}

impl Glance {
    /// None: the format does not allow it.
    pub(in crate::gateway) fn new(template: &Template) -> Option<Self> {
        let place = |name: &str| template.place(name);
        let in_other_units = ["T:us", "T:ms", "T:", "T:s"].into_iter().any(|name| place(name).is_some());
        Some(Self {
            status: place("s")?,
            request: place("r")?,
            begun: place("t")?,
            duration_us: place("D"),
            note: place("n:error-notes"),
            worker: place("e:balancer_worker_name"),
            ids: ["L", "e:unique_id", "i:x-request-id"].into_iter().filter_map(place).collect(),
            spans: Spans::default(),
        })
        .filter(|glance| glance.duration_us.is_some() || !in_other_units)
    }

    /// What is counted of a line. None: it is to be read whole.
    pub(in crate::gateway) fn served<'a>(
        &mut self,
        template: &Template,
        line: &'a [u8],
        zone: &Zone,
    ) -> Option<Served<'a>> {
        if line.len() > LINE_LIMIT_BYTES || !template.plain(line, &mut self.spans) {
            return None;
        }
        let said =
            |place: Option<usize>| place.map(|place| self.spans.text(line, place)).filter(|text| !is_nothing(text));
        let has_id = self.ids.iter().any(|id| said(Some(*id)).is_some());
        if !is_served(self.spans.text(line, self.status)) || said(self.note).is_some() || has_id {
            return None;
        }
        let upstream = match said(self.worker) {
            Some(worker) if worker.contains(&b'|') => return None,
            Some(worker) => Some(host_of(worker)?),
            None => None,
        };
        let (begun, _) = stamp::clf(self.spans.text(line, self.begun), zone)?;
        let duration_us = said(self.duration_us).map_or(Some(None), |text| number(text).map(Some))?;
        Some(Served {
            upstream,
            took_us: duration_us.and_then(|us| u64::try_from(us).ok()),
            at: Some(later(begun, duration_us.unwrap_or(0))),
            request: Some(Asked::Line(self.spans.text(line, self.request))),
        })
    }

    /// A field of the line that was looked at last, where it tells something.
    pub(in crate::gateway) fn said<'a>(&self, line: &'a [u8], place: usize) -> Option<&'a [u8]> {
        Some(self.spans.text(line, place)).filter(|text| !is_nothing(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::apache::format;

    #[test]
    fn a_request_that_the_error_log_tells_of_is_read_whole() {
        let template = format::parse(r#"%h %t "%r" %s %b worker=%{BALANCER_WORKER_NAME}e %L"#);
        let mut glance = Glance::new(&template).unwrap();
        let line = |id: &str| {
            format!(r#"192.0.2.7 [22/Nov/2026:06:57:57 +0000] "GET / HTTP/1.1" 200 5 worker=http://10.0.0.2:80/a {id}"#)
        };
        let mut upstream = |id: &str| {
            glance.served(&template, line(id).as_bytes(), &Zone::utc()).map(|served| served.upstream.map(str::to_owned))
        };
        assert_eq!(upstream("-"), Some(Some("10.0.0.2:80".to_owned())));
        assert_eq!(upstream("RCBE9f18fU"), None);
    }
}
