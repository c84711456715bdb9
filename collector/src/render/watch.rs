//! `watch` as a person reads it: each incident when it opens, when its cause changes and when it ends, and how many attempts
//! fail, now and then. `--json` has every step.

use std::collections::HashMap;

use super::{Style, Tone, percent, short_time};
use crate::view::*;

/// Between two lines that tell how many attempts fail, microseconds.
const RATE_EVERY_US: i64 = 10_000_000;

/// What was told so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// Of each open incident the cause.
    causes: HashMap<String, String>,
    /// When it was told how many fail.
    rate_at_us: Option<i64>,
}

impl Watch {
    /// The next line; empty where it would tell a person nothing new.
    pub fn line(&mut self, json: &str, style: Style) -> Result<String, serde_json::Error> {
        let doc: WatchDoc = serde_json::from_str(json)?;
        Ok(if self.is_news(&doc) { told(&doc, style) } else { String::new() })
    }

    fn is_news(&mut self, doc: &WatchDoc) -> bool {
        match doc {
            WatchDoc::Rate(rate) => {
                let at_us = parse_time(&rate.at, 0).unwrap_or(0);
                let is_due = self.rate_at_us.is_none_or(|before_us| at_us.saturating_sub(before_us) >= RATE_EVERY_US);
                if is_due {
                    self.rate_at_us = Some(at_us);
                }
                is_due
            }
            WatchDoc::Incident(told) if told.incident.state == "resolved" => {
                self.causes.remove(&told.incident.id);
                true
            }
            WatchDoc::Incident(told) => {
                let cause = &told.incident.cause;
                self.causes.insert(told.incident.id.clone(), cause.clone()).as_ref() != Some(cause)
            }
        }
    }
}

/// A line of the stream.
fn told(doc: &WatchDoc, style: Style) -> String {
    match doc {
        WatchDoc::Rate(RateDoc { at, this_minute, last_minute }) => {
            let line =
                format!("{}  {this_minute} failures this minute, {last_minute} the minute before", short_time(at, at));
            format!("{}\n", style.paint(Tone::Faint, &line))
        }
        WatchDoc::Incident(told) => {
            let ChangeDoc { at, change, incident } = told.as_ref();
            let tone = match (change.as_str(), incident.state.as_str()) {
                (_, "resolved") => Tone::Good,
                ("opened", _) => Tone::Bad,
                _ => Tone::Warn,
            };
            let (change, cause) = (clean(change), clean(&incident.cause));
            let (count, sure) = (incident.count, percent(Some(incident.confidence)));
            let (sentence, id) = (clean(&incident.sentence), clean(&incident.id));
            let line =
                format!("{}  {change:8}  {sentence}  [{cause} {sure}, {count} failures, {id}]", short_time(at, at));
            format!("{}\n", style.paint(tone, &line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_in_its_count_alone_is_told_once() {
        let step = |change: &str, state: &str, cause: &str, count: u64| {
            let [id, state, cause] = ["01J", state, cause].map(str::to_owned);
            let incident = IncidentDoc { id, state, cause, count, ..IncidentDoc::default() };
            let (at, change) = ("2026-11-22T14:32:00.000Z".to_owned(), change.to_owned());
            WatchDoc::Incident(Box::new(ChangeDoc { at, change, incident }))
        };
        let mut watch = Watch::default();
        let told = [
            step("opened", "open", "unknown", 1),
            step("changed", "open", "unknown", 2),
            step("changed", "open", "oom_killed", 3),
            step("changed", "open", "oom_killed", 4),
            step("changed", "resolved", "oom_killed", 4),
        ]
        .map(|step| watch.is_news(&step));
        assert_eq!(told, [true, false, true, false, true]);
    }

    #[test]
    fn how_many_fail_is_told_every_ten_seconds() {
        let mut watch = Watch::default();
        let at = |second: u32| {
            WatchDoc::Rate(RateDoc { at: format!("2026-11-22T14:32:{second:02}Z"), ..RateDoc::default() })
        };
        assert_eq!(
            [0, 1, 9, 10, 12, 20].map(|second| watch.is_news(&at(second))),
            [true, false, false, true, false, true]
        );
    }
}
