//! Something for the journal: a record, and of a report the bytes that stand for it there, which are those that its agent sent.
//! So a report is read once and never written anew.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use why502_proto::v1;

use super::{Key, Numbering, numbering};

/// The field of a journal's record that holds a report's record, and the field of that which holds the report.
const RECORD_FIELD: u32 = 3;
const REPORT_FIELD: u32 = 4;

/// A report as its agent sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub(super) report: v1::Report,
    pub(super) bytes: Vec<u8>,
}

impl From<v1::Report> for Sent {
    fn from(report: v1::Report) -> Self {
        Self { bytes: report.encode_to_vec(), report }
    }
}

impl Sent {
    /// What it says.
    pub fn report(&self) -> &v1::Report {
        &self.report
    }
}

/// Something for the journal, checked, not yet stamped.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    pub(super) record: v1::JournalRecord,
    /// The bytes of a report's record. None: they are written where they are wanted.
    written: Option<Vec<u8>>,
}

impl From<v1::JournalRecord> for Incoming {
    fn from(record: v1::JournalRecord) -> Self {
        Self { record, written: None }
    }
}

impl Incoming {
    /// A report, with its bytes.
    pub(super) fn of_report(of: &Numbering, report: v1::Report, bytes: &[u8]) -> Self {
        let Numbering { host, boot_id, epoch } = of.clone();
        let mut record = v1::ReportRecord { host, boot_id, epoch, report: None };
        let mut written = Vec::with_capacity(record.encoded_len() + field_len(REPORT_FIELD, bytes));
        // Encoding fails only where the buffer has no room, and a vector grows.
        let _ = record.encode(&mut written);
        put_field(REPORT_FIELD, bytes, &mut written);
        record.report = Some(report);
        let kind = Some(v1::journal_record::Kind::Report(record));
        Self { record: v1::JournalRecord { received_unix_us: 0, kind }, written: Some(written) }
    }

    /// Reads a record of the journal. None: it is no record of this schema.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        v1::JournalRecord::decode(bytes).ok().map(Self::from)
    }

    /// Puts the collector's time on it.
    pub fn stamp(&mut self, received_us: i64) {
        self.record.received_unix_us = received_us;
    }

    /// The collector's time on it.
    pub fn received_us(&self) -> i64 {
        self.record.received_unix_us
    }

    /// Its bytes for the journal.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // As above.
        let _ = match &self.written {
            None => self.record.encode(out),
            Some(written) => self.stamped().encode(out).map(|()| put_field(RECORD_FIELD, written, out)),
        };
    }

    /// How large it is, bytes.
    pub fn encoded_len(&self) -> usize {
        match &self.written {
            None => self.record.encoded_len(),
            Some(written) => self.stamped().encoded_len() + field_len(RECORD_FIELD, written),
        }
    }

    /// The record but for what it says.
    fn stamped(&self) -> v1::JournalRecord {
        v1::JournalRecord { received_unix_us: self.record.received_unix_us, kind: None }
    }

    /// The host whose record it is. None: it is nobody's alone.
    pub fn host(&self) -> Option<&str> {
        match &self.record.kind {
            Some(v1::journal_record::Kind::Hello(hello)) => Some(&hello.host),
            Some(v1::journal_record::Kind::Report(record)) => Some(&record.host),
            Some(v1::journal_record::Kind::StreamEnded(ended)) => Some(&ended.host),
            _ => None,
        }
    }

    /// Whether it says what people were told, or not told: of that no verdict is made.
    pub fn is_of_people(&self) -> bool {
        use v1::journal_record::Kind;
        matches!(self.record.kind, Some(Kind::Alert(_) | Kind::Silence(_) | Kind::SilenceExpired(_)))
    }

    /// When its agent began to number. None: it is no agent's.
    pub fn epoch(&self) -> Option<u64> {
        match self.key() {
            Key::Hello(numbering, _) | Key::Report(numbering, _) => Some(numbering.epoch),
            Key::Other => None,
        }
    }

    /// What it means for the numbering.
    pub fn key(&self) -> Key {
        match &self.record.kind {
            Some(v1::journal_record::Kind::Hello(hello)) => Key::Hello(numbering(hello), hello.next_seq),
            Some(v1::journal_record::Kind::Report(record)) => {
                let numbering =
                    Numbering { host: record.host.clone(), boot_id: record.boot_id.clone(), epoch: record.epoch };
                Key::Report(numbering, record.report.as_ref().map_or(0, |report| report.seq))
            }
            _ => Key::Other,
        }
    }
}

/// Writes a field whose value is these bytes.
fn put_field(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn field_len(field: u32, bytes: &[u8]) -> usize {
    key_len(field) + encoded_len_varint(bytes.len() as u64) + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn a_report_stands_in_the_journal_as_the_schema_would_write_it() {
        let of = Numbering { host: "app-1".to_owned(), boot_id: "b".to_owned(), epoch: 7 };
        let instance = v1::InstanceSample { service: "api".to_owned(), ..Default::default() };
        let sent = v1::Report { seq: 9, instances: vec![instance; 40], ..Default::default() };
        let mut incoming = wire::report(&of, sent).unwrap();
        incoming.stamp(-1_700_000_000_000_000);
        let mut bytes = Vec::new();
        incoming.encode(&mut bytes);
        assert_eq!((bytes.len(), &bytes), (incoming.encoded_len(), &incoming.record.encode_to_vec()));
    }

    #[test]
    fn what_a_newer_agent_says_more_is_kept() {
        let of = Numbering { host: "app-1".to_owned(), ..Numbering::default() };
        let mut sent = Sent::from(v1::Report { seq: 9, ..Default::default() });
        put_field(5_000, b"unheard of", &mut sent.bytes);
        let mut bytes = Vec::new();
        wire::report(&of, sent).unwrap().encode(&mut bytes);
        assert!(bytes.ends_with(b"unheard of"));
        assert!(matches!(Incoming::decode(&bytes).unwrap().key(), Key::Report(numbering, 9) if numbering == of));
    }
}
