//! What readers see: an immutable picture of the fleet and its incidents at one moment, cheap to make and to share.
//! Questions become JSON documents here, so that the command line, HTTP and gRPC can't differ. Nothing here changes
//! anything or waits for anything.

use std::sync::Arc;

use crate::book::Book;
use crate::model::{HostState, Incident};

mod advise;
mod alerts;
mod answer;
mod chronicle;
mod document;
mod environment;
mod filter;
mod fleet;
mod gateways;
mod incidents;
mod logs;
mod metrics;
mod near;
mod question;
mod rollout;
mod schema;
mod scope;
mod timeline;
mod untrusted;
mod why;

pub use alerts::word;
pub use answer::{Answer, answer, answer_with};
pub use chronicle::{Chronicle, Stretch, chronicle};
pub use document::*;
pub use filter::Filter;
pub use fleet::rate_doc;
pub use incidents::{IncidentFilter, changes, incident_doc};
pub use metrics::Tally;
pub use question::{BadQuestion, Document, Question, parse_duration, parse_time};
pub use schema::{Schema, Shapes};
pub use untrusted::{Untrusted, clean, clean_json};
pub use why::{concerned, document as why_document, involved, sentence};

/// The collector's own counts and settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// When this collector started, unix microseconds.
    pub started_us: i64,
    /// The time that tells how old something is where it may be removed for that, unix microseconds.
    pub aging_us: i64,
    /// Records ever appended to the journal.
    pub journal_records: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Stretches that recovery found unreadable at the start.
    pub journal_faults: u64,
    /// The disk is full: nothing is acknowledged.
    pub disk_full: bool,
    /// Reports taken since the start.
    pub reports: u64,
    /// Reports that had been taken before.
    pub duplicates: u64,
    /// Reports refused because ones before them were missing.
    pub gaps: u64,
    /// Texts that were cut to their bound.
    pub texts_cut: u64,
    /// List entries beyond their bound.
    pub entries_cut: u64,
    /// Times more than a day off.
    pub times_cut: u64,
    /// Records and events of unknown kind.
    pub unknown_records: u64,
    /// Who is told of incidents.
    pub sinks: Arc<[SinkInfo]>,
}

/// A sink as it stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkInfo {
    /// Its name.
    pub name: String,
    /// "alertmanager", "webhook" or "otlp".
    pub kind: String,
    /// Where it is, without what may be secret.
    pub to: Vec<String>,
}

/// The fleet and its incidents at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The moment: time of the newest record, unix microseconds.
    pub at_us: i64,
    /// Of a past moment: the oldest that can be told of. None: this is now, or none can.
    pub kept_since_us: Option<i64>,
    /// Hosts by name.
    pub hosts: Vec<Arc<HostState>>,
    /// Incidents, oldest first.
    pub incidents: Vec<Arc<Incident>>,
    /// Who was told of what.
    pub book: Arc<Book>,
    /// The collector's own counts.
    pub stats: Stats,
}
