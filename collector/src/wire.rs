//! Between the wire's messages and the model's words. Here every text, list, time and number from outside gets its
//! bound: texts and lists are cut, ratios that are no numbers become absent, times are put on the collector's time
//! line and replaced by the time of receipt where they are days off. What was cut is counted. A message that
//! says nothing usable is refused with a reason; nothing here panics. Conversion is a fold over the journal's records
//! (a report without an offset of its own takes the one of its host's hello), so a replay gives the same values.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use why502_proto::v1;

use crate::model::{self, Record, RecordKind};

mod alert;
mod base;
mod bounds;
mod config;
mod event;
mod incoming;
mod kin;
mod names;
mod pack;
mod probe;
mod sample;
#[cfg(test)]
mod tests;

pub use alert::{alert, silence, silence_expired};
pub use base::{base, only_ends};
use bounds::Line;
pub use bounds::NAME_MAX;
pub use incoming::{Incoming, Sent};
pub use kin::{kin, kin_of};
pub use names::names;
pub use pack::Unpacker;

/// Longest host name, bytes (RFC 1035).
pub const HOST_MAX: usize = 253;

/// Why something from outside was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Names one numbering of reports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Numbering {
    /// The host.
    pub host: String,
    /// Its boot.
    pub boot_id: String,
    /// When the agent began to number, unix microseconds.
    pub epoch: u64,
}

/// What a record means for the numbering of reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// An agent says which number comes next.
    Hello(Numbering, u64),
    /// A report and its number.
    Report(Numbering, u64),
    /// Neither.
    Other,
}

/// Checks a hello.
pub fn hello(hello: v1::Hello) -> Result<Incoming, Refused> {
    check_host(&hello.host)?;
    if hello.boot_id.len() > 64 {
        return Err(Refused("boot_id is longer than 64 bytes".to_owned()));
    }
    Ok(incoming(v1::journal_record::Kind::Hello(hello)))
}

/// Checks a report of the agent that said hello as `numbering`.
pub fn report(numbering: &Numbering, sent: impl Into<Sent>) -> Result<Incoming, Refused> {
    let Sent { report, bytes } = sent.into();
    if report.seq == 0 {
        return Err(Refused("a report has number 0; numbers begin at 1".to_owned()));
    }
    Ok(Incoming::of_report(numbering, report, &bytes))
}

/// An agent's stream ended.
pub fn stream_ended(host: &str, why: &str) -> Incoming {
    let ended = v1::StreamEnded { host: host.to_owned(), why: why.to_owned() };
    incoming(v1::journal_record::Kind::StreamEnded(ended))
}

/// Time passed.
pub fn tick() -> Incoming {
    incoming(v1::journal_record::Kind::Tick(v1::Tick {}))
}

/// Checks a mark.
pub fn mark(kind: String, service: String, version: String, host: String) -> Result<Incoming, Refused> {
    if kind != "deploy" {
        return Err(Refused(format!("mark {kind:?} is not known; use \"deploy\"")));
    }
    if service.is_empty() || service.len() > bounds::NAME_MAX {
        return Err(Refused(format!("service must have 1 to {} bytes", bounds::NAME_MAX)));
    }
    if version.len() > bounds::NAME_MAX || host.len() > HOST_MAX {
        return Err(Refused("version or host is too long".to_owned()));
    }
    Ok(incoming(v1::journal_record::Kind::Mark(v1::MarkRecord { kind, service, version, host })))
}

fn incoming(kind: v1::journal_record::Kind) -> Incoming {
    v1::JournalRecord { received_unix_us: 0, kind: Some(kind) }.into()
}

fn check_host(host: &str) -> Result<(), Refused> {
    if host.is_empty() || host.len() > HOST_MAX {
        return Err(Refused(format!("host must have 1 to {HOST_MAX} bytes")));
    }
    if host.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Refused("host must have no blanks and no control characters".to_owned()));
    }
    Ok(())
}

/// The numbering that a hello begins or goes on with.
pub fn numbering(hello: &v1::Hello) -> Numbering {
    Numbering { host: hello.host.clone(), boot_id: hello.boot_id.clone(), epoch: hello.epoch }
}

/// Counts of what had to be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cuts {
    /// Texts that were cut.
    pub texts: u64,
    /// List entries that were left out.
    pub entries: u64,
    /// Times that were days off.
    pub times: u64,
    /// Events of kinds that this collector does not know, and records that say nothing.
    pub unknown: u64,
}

/// A hello may be under way so long, microseconds.
const HELLO_WAY_US: i64 = 2_000_000;

/// The fold from journal records to the model's: keeps each host's clock as its hello told it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Converter {
    hosts: BTreeMap<String, Memory>,
    cuts: Cuts,
}

/// What is remembered of one host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Its clock less the collector's, as its hello told it, microseconds.
    ahead_us: i64,
}

impl Converter {
    /// A converter that goes on with one host's records.
    pub fn remembering(host: &str, memory: Memory) -> Self {
        Self { hosts: BTreeMap::from([(host.to_owned(), memory)]), cuts: Cuts::default() }
    }

    /// What is remembered of a host.
    pub fn memory(&self, host: &str) -> Memory {
        self.hosts.get(host).cloned().unwrap_or_default()
    }

    /// What had to be bounded so far.
    pub fn cuts(&self) -> Cuts {
        self.cuts
    }

    /// The record in the model's words. None: a record of a newer collector, counted and passed over.
    pub fn convert(&mut self, incoming: Incoming) -> Option<Record> {
        let received_us = incoming.record.received_unix_us;
        let kind = match incoming.record.kind {
            Some(v1::journal_record::Kind::Hello(hello)) => RecordKind::Hello(self.hello(hello, received_us)),
            Some(v1::journal_record::Kind::Report(record)) => {
                RecordKind::Report(Box::new(self.report(record, received_us)))
            }
            Some(v1::journal_record::Kind::StreamEnded(ended)) => {
                let mut line = Line::new(0, received_us, &mut self.cuts);
                RecordKind::StreamEnded { host: line.host(ended.host), why: line.name(ended.why) }
            }
            Some(v1::journal_record::Kind::Tick(_)) => RecordKind::Tick,
            Some(v1::journal_record::Kind::Mark(mark)) => {
                let mut line = Line::new(0, received_us, &mut self.cuts);
                RecordKind::Mark(model::Mark {
                    kind: line.name(mark.kind),
                    service: line.name(mark.service),
                    version: line.name(mark.version),
                    host: line.host(mark.host),
                })
            }
            Some(v1::journal_record::Kind::Alert(told)) => {
                let told = alert::alert_record(&mut Line::new(0, received_us, &mut self.cuts), told);
                self.cuts.unknown += u64::from(told.is_none());
                RecordKind::Alert(told?)
            }
            Some(v1::journal_record::Kind::Silence(silence)) => {
                let mut line = Line::new(0, received_us, &mut self.cuts);
                RecordKind::Silence(alert::silence_record(&mut line, silence))
            }
            Some(v1::journal_record::Kind::SilenceExpired(ended)) => {
                RecordKind::SilenceExpired(Line::new(0, received_us, &mut self.cuts).name(ended.id))
            }
            None => {
                self.cuts.unknown += 1;
                return None;
            }
        };
        Some(Record { received_us, kind })
    }

    fn hello(&mut self, hello: v1::Hello, received_us: i64) -> model::Hello {
        let behind_us = received_us.saturating_sub(hello.at_unix_us);
        // So far behind a hello may also be for its way here, which is no reason to move times.
        let ahead_us = if (0..=HELLO_WAY_US).contains(&behind_us) { 0 } else { bounds::ahead(-behind_us) };
        self.hosts.insert(hello.host.clone(), Memory { ahead_us });
        let mut line = Line::new(ahead_us, received_us, &mut self.cuts);
        model::Hello {
            host: line.host(hello.host),
            boot_id: line.name(hello.boot_id),
            epoch: hello.epoch,
            agent_version: line.name(hello.agent_version),
            clock_ahead_us: ahead_us,
            interval_us: hello.interval_us.min(bounds::INTERVAL_MAX_US),
            samplers: line.list(hello.samplers, bounds::SAMPLERS_MAX, config::sampler),
            services: line.list(hello.services, bounds::SERVICES_MAX, config::service),
            machine: hello.machine.map(|machine| config::machine(&mut line, machine)),
        }
    }

    fn report(&mut self, record: v1::ReportRecord, received_us: i64) -> model::Report {
        let report = record.report.unwrap_or_default();
        let told = report.collector_offset_us.map(|offset_us| bounds::ahead(offset_us.saturating_neg()));
        let ahead_us = told.or_else(|| self.hosts.get(&record.host).map(|known| known.ahead_us)).unwrap_or(0);
        let mut line = Line::new(ahead_us, received_us, &mut self.cuts);
        model::Report {
            host: line.host(record.host),
            boot_id: line.name(record.boot_id),
            epoch: record.epoch,
            seq: report.seq,
            at_us: line.at(report.at_unix_us),
            clock_ahead_us: ahead_us,
            host_sample: report.host.map(|host| Arc::new(sample::host(&mut line, host))),
            instances: line
                .list(report.instances, bounds::INSTANCES_MAX, |line, one| Arc::new(sample::instance(line, one))),
            upstreams: line.list(report.upstreams, bounds::UPSTREAMS_MAX, sample::upstream),
            events: event::events(&mut line, report.events),
            samplers: line.list(report.samplers, bounds::SAMPLERS_MAX, config::sampler),
            gateways: line.list(report.gateways, bounds::GATEWAYS_MAX, config::gateway),
            sources: line.list(report.sources, bounds::SOURCES_MAX, sample::source),
        }
    }
}
