//! What systemd says of the units of watched services: its own entries in its journal, told apart by their message ids. Pure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use why502_proto::v1::UnitChanged;
use why502_proto::v1::event::Kind;

use crate::journald::{Entry, Wanted};
use crate::sampler::Observed;

/// Most units that are known by their services.
const MAX_UNITS: usize = 1_024;
/// Most bytes of a value that is handed on.
const MAX_VALUE_BYTES: usize = 256;
const FIELDS: [&str; 7] = ["UNIT", "MESSAGE_ID", "COMMAND", "EXIT_CODE", "EXIT_STATUS", "UNIT_RESULT", "N_RESTARTS"];

/// Message ids of systemd's catalogue and what each says.
const MESSAGES: [(&str, &str); 10] = [
    ("7d4958e842da4a758f6c1cdc7b36dcc5", "starting"),
    ("39f53479d3a045ac8e11786248231fbf", "started"),
    ("be02cf6855d2428ba40df7e9d022f03d", "start_failed"),
    ("de5b426a63be47a7b6ac3eaac82e2f6f", "stopping"),
    ("9d1aaa27d60140bd96365438aad20286", "stopped"),
    ("98e322203f7a4ed290d09fe03c09fe15", "process_exited"),
    ("7ad2d189f7e94e70a38c781354912448", "succeeded"),
    ("d9b373ed55a64feb8242e02dbe79a49c", "failed"),
    ("5eb03494b6584870a536b337290809b3", "restart_scheduled"),
    ("fe6faa94e7774663a0da52717891d8ef", "out_of_memory"),
];

/// Which service lives in a unit, as it is configured or was seen; shared by those who see it and those who ask.
#[derive(Debug, Clone, Default)]
pub struct Units(Rc<RefCell<BTreeMap<String, String>>>);

impl Units {
    /// A service lives in a unit.
    pub fn note(&self, unit: &str, service: &str) {
        let mut units = self.0.borrow_mut();
        let is_known = units.get(unit).is_some_and(|known| known == service);
        if !unit.is_empty() && !is_known && units.len() < MAX_UNITS {
            units.insert(unit.to_owned(), service.to_owned());
        }
    }

    /// No service lives in a unit, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn service(&self, unit: &str) -> Option<String> {
        self.0.borrow().get(unit).cloned()
    }
}

/// What is wanted of the journal: entries that journald itself notes to be of the first process.
pub fn wanted() -> Wanted {
    Wanted { all: vec!["_PID=1".to_owned()], fields: FIELDS.to_vec() }
}

/// What an entry says of a watched service's unit, its time made `steady`. None: nothing.
pub fn change(entry: &Entry, units: &Units, steady: impl Fn(i64) -> i64) -> Option<Observed> {
    let text = |name: &str| {
        let value = entry.values.get(FIELDS.iter().position(|field| *field == name)?)?.as_deref()?;
        Some(String::from_utf8_lossy(&value[..value.len().min(MAX_VALUE_BYTES)]).into_owned())
    };
    let id = text("MESSAGE_ID")?;
    let (_, what) = MESSAGES.iter().find(|(known, _)| *known == id)?;
    // Helpers of a unit, such as what reloads it, end too.
    if *what == "process_exited" && text("COMMAND").is_some_and(|command| command != "ExecStart") {
        return None;
    }
    let unit = text("UNIT")?;
    let change = UnitChanged {
        service: units.service(&unit)?,
        unit,
        what: (*what).to_owned(),
        exit_code: text("EXIT_CODE").unwrap_or_default(),
        exit_status: text("EXIT_STATUS").and_then(|status| status.parse().ok()),
        result: text("UNIT_RESULT").unwrap_or_default(),
        restarts: text("N_RESTARTS").and_then(|restarts| restarts.parse().ok()),
    };
    Some(Observed::event(steady(i64::try_from(entry.at_us).ok()?), Kind::UnitChanged(change)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(values: &[(&str, &str)]) -> Entry {
        let value = |name: &&str| {
            let found = values.iter().find(|(of, _)| of == name);
            found.map(|(_, value)| value.as_bytes().to_vec())
        };
        Entry { at_us: 5, values: FIELDS.iter().map(value).collect() }
    }

    fn told(values: &[(&str, &str)]) -> Option<UnitChanged> {
        let units = Units::default();
        units.note("api.service", "api");
        match change(&entry(values), &units, |at_us| at_us)? {
            Observed::Event(event) => match event.kind {
                Some(Kind::UnitChanged(change)) if event.at_unix_us == 5 => Some(change),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_end_a_failure_and_a_restart_are_told() {
        const EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
        let of = |id: &str| vec![("UNIT", "api.service"), ("MESSAGE_ID", id.to_owned().leak() as &str)];
        let exit = [of(EXIT), vec![("COMMAND", "ExecStart"), ("EXIT_CODE", "killed"), ("EXIT_STATUS", "9")]].concat();
        let exit = told(&exit).unwrap();
        assert_eq!(
            (exit.service.as_str(), exit.what.as_str(), exit.exit_code.as_str()),
            ("api", "process_exited", "killed")
        );
        assert_eq!(exit.exit_status, Some(9));
        assert_eq!(told(&[of(EXIT), vec![("COMMAND", "ExecReload"), ("EXIT_STATUS", "1")]].concat()), None);
        let failed =
            told(&[of("d9b373ed55a64feb8242e02dbe79a49c"), vec![("UNIT_RESULT", "oom-kill")]].concat()).unwrap();
        assert_eq!((failed.what.as_str(), failed.result.as_str()), ("failed", "oom-kill"));
        let again = told(&[of("5eb03494b6584870a536b337290809b3"), vec![("N_RESTARTS", "3")]].concat()).unwrap();
        assert_eq!((again.what.as_str(), again.restarts), ("restart_scheduled", Some(3)));
        assert_eq!(told(&[("UNIT", "other.service"), ("MESSAGE_ID", "de5b426a63be47a7b6ac3eaac82e2f6f")]), None);
        assert_eq!(told(&of("00000000000000000000000000000000")), None);
        assert_eq!(told(&[("UNIT", "api.service")]), None);
    }
}
