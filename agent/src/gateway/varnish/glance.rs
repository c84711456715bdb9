//! The least work for a line that tells of no failure. Of a client's line only the time and the request are counted, of a fetch's
//! the backend too.

use super::{HANDLING, opened};
use crate::gateway::Served;
use crate::gateway::apache::glance::Glance as AccessGlance;
use crate::gateway::stamp::Zone;
use crate::gateway::template::Template;

/// Which fields of a format tell what is counted.
#[derive(Debug)]
pub(super) struct Glance {
    access: AccessGlance,
    /// The error of a fetch, where the format has it.
    error: Option<usize>,
    opened: Option<usize>,
    /// How a request was handled, which is told of clients' lines alone.
    handling: Option<usize>,
    /// The backend's address, of the line that was looked at last.
    backend: String,
}

impl Glance {
    /// None: the format does not allow it.
    pub(super) fn new(template: &Template) -> Option<Self> {
        Some(Self {
            access: AccessGlance::new(template)?,
            error: template.place("x:vsl:fetcherror"),
            opened: template.place("x:vsl:backendopen"),
            handling: template.place(HANDLING),
            backend: String::new(),
        })
    }

    /// What is counted of a line. None: it is to be read whole.
    pub(super) fn served<'a>(&'a mut self, template: &Template, line: &'a [u8], zone: &Zone) -> Option<Served<'a>> {
        let served = self.access.served(template, line, zone)?;
        let Some(error) = self.error else { return Some(served) };
        if self.access.said(line, error).is_some() {
            return None;
        }
        if self.handling.is_some_and(|handling| self.access.said(line, handling).is_some()) {
            return Some(served);
        }
        let said = self.opened.and_then(|opened| self.access.said(line, opened));
        let upstream = match said {
            Some(said) => {
                self.backend = opened(std::str::from_utf8(said).ok()?)?;
                Some(self.backend.as_str())
            }
            None => None,
        };
        Some(Served { upstream, ..served })
    }
}
