//! Whether an instance leads its service, as it tells itself: by a field of a JSON answer or by lines of its log. Pure.
//! What is told is a change, and the first thing known.

use regex::bytes::Regex;
use serde_json::Value;
use why502_proto::v1::RoleChanged;
use why502_proto::v1::event::Kind;

use crate::mask;
use crate::sampler::Observed;

/// Bytes of a line that are searched.
const READ_LIMIT_BYTES: usize = 8 * 1024;
/// Bytes of a line that are sent.
const LINE_LIMIT_BYTES: usize = 512;
/// Words by which a field says that its instance leads.
const LEADS: [&str; 6] = ["leader", "primary", "master", "active", "true", "yes"];

/// What a field of a JSON answer says, names of nested fields parted by dots. None: it is no JSON or has no such field.
pub fn of_json(body: &[u8], field: &str) -> Option<bool> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let told = field.split('.').try_fold(&answer, |value, name| value.get(name))?;
    match told {
        Value::Bool(leads) => Some(*leads),
        Value::String(word) => Some(LEADS.iter().any(|lead| word.eq_ignore_ascii_case(lead))),
        Value::Number(number) => Some(number.as_f64().is_some_and(|number| number != 0.0)),
        _ => None,
    }
}

/// What is known of an instance's role: tells it when it changes.
#[derive(Debug)]
pub struct Role {
    service: String,
    leader: Option<bool>,
}

impl Role {
    /// Of a service of which nothing is known yet.
    pub fn new(service: &str) -> Self {
        Self { service: service.to_owned(), leader: None }
    }

    /// Takes what it says now; what is to be sent where that is new.
    pub fn says(&mut self, leader: bool, words: String, at_unix_us: i64) -> Option<Observed> {
        if self.leader == Some(leader) {
            return None;
        }
        self.leader = Some(leader);
        let change = RoleChanged { service: self.service.clone(), leader, says: words };
        Some(Observed::event(at_unix_us, Kind::RoleChanged(change)))
    }
}

/// Lines of a log by which an instance tells its role.
#[derive(Debug)]
pub struct RoleLog {
    gained: Option<Regex>,
    lost: Option<Regex>,
    role: Role,
}

impl RoleLog {
    /// Patterns for the lock gained and lost.
    pub fn new(service: &str, gained: Option<Regex>, lost: Option<Regex>) -> Self {
        Self { gained, lost, role: Role::new(service) }
    }

    /// Reads a line, without its end of line. What was lost is asked first: "no longer leader" names the leader, too.
    pub fn line(&mut self, line: &[u8], now_unix_us: i64) -> Option<Observed> {
        let text = line.get(..READ_LIMIT_BYTES).unwrap_or(line);
        let matches = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
        let leader = match (matches(&self.lost), matches(&self.gained)) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => return None,
        };
        self.role.says(leader, mask::line(line, LINE_LIMIT_BYTES), now_unix_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(observed: Option<Observed>) -> Option<bool> {
        match observed {
            Some(Observed::Event(event)) => match event.kind {
                Some(Kind::RoleChanged(change)) => Some(change.leader),
                other => panic!("{other:?}"),
            },
            _ => None,
        }
    }

    #[test]
    fn fields_tell_the_role() {
        assert_eq!(of_json(br#"{"leader":true}"#, "leader"), Some(true));
        assert_eq!(of_json(br#"{"raft":{"role":"Follower"}}"#, "raft.role"), Some(false));
        assert_eq!(of_json(br#"{"raft":{"role":"Leader"}}"#, "raft.role"), Some(true));
        for silent in [&b"not json"[..], br#"{"other":1}"#, br#"{"leader":null}"#, b""] {
            assert_eq!(of_json(silent, "leader"), None);
        }
    }

    #[test]
    fn lines_tell_when_it_changes() {
        let pattern = |text| Some(Regex::new(text).unwrap());
        let mut log = RoleLog::new("api", pattern("leader"), pattern("no longer leader"));
        assert_eq!(led(log.line(b"hello", 1)), None);
        assert_eq!(led(log.line(b"became leader", 1)), Some(true));
        assert_eq!(led(log.line(b"still leader", 2)), None);
        assert_eq!(led(log.line(b"no longer leader", 3)), Some(false));
        assert_eq!(led(log.line(b"\xff\x00leader", 4)), Some(true));
    }
}
