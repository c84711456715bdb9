//! Faults of a configuration file: where, what is wrong, what to write instead, one line each. Text of the file stands
//! in them only escaped, so that a fault is one line whatever the file holds.

use std::fmt;
use std::ops::Range;

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1. 0: the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
    /// The agent runs all the same.
    pub is_warning: bool,
}

impl Fault {
    /// A fault of the file as a whole.
    pub fn of_file(file: &str, what: &str, instead: &str) -> Self {
        Self { file: file.to_owned(), line: 0, what: what.to_owned(), instead: instead.to_owned(), is_warning: false }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.escape_debug())?;
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        let warning = if self.is_warning { "warning: " } else { "" };
        write!(out, ": {warning}{}: {}", self.what, self.instead)
    }
}

/// Collects the faults and warnings of one file.
pub(super) struct Faults {
    file: String,
    line_starts: Vec<usize>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Faults {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let after_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_ends).collect();
        Self { file: file.to_owned(), line_starts, faults: Vec::new(), warnings: Vec::new() }
    }

    /// The configuration can't be used as it stands.
    pub(super) fn fault(&mut self, span: &Range<usize>, what: impl Into<String>, instead: impl Into<String>) {
        let fault = self.at(span, what.into(), instead.into(), false);
        self.faults.push(fault);
    }

    /// It can be used, but likely not as meant.
    pub(super) fn warn(&mut self, span: &Range<usize>, what: impl Into<String>, instead: impl Into<String>) {
        let warning = self.at(span, what.into(), instead.into(), true);
        self.warnings.push(warning);
    }

    fn at(&self, span: &Range<usize>, what: String, instead: String, is_warning: bool) -> Fault {
        let line = self.line_starts.partition_point(|start| *start <= span.start);
        Fault { file: self.file.clone(), line, what, instead, is_warning }
    }

    pub(super) fn lines(&self) -> Vec<usize> {
        self.faults.iter().map(|fault| fault.line).collect()
    }

    /// Takes over those faults of a later stage that do not stand on a line already told of.
    pub(super) fn add_where_silent(&mut self, later: Self) {
        let told = self.lines();
        self.faults.extend(later.faults.into_iter().filter(|fault| !told.contains(&fault.line)));
        self.warnings.extend(later.warnings);
    }

    /// The warnings if there is no fault; else all of both, in the order of the file.
    pub(super) fn finish(mut self) -> Result<Vec<Fault>, Vec<Fault>> {
        if self.faults.is_empty() {
            self.warnings.sort_by_key(|warning| warning.line);
            return Ok(self.warnings);
        }
        self.faults.append(&mut self.warnings);
        self.faults.sort_by_key(|fault| fault.line);
        Err(self.faults)
    }
}
