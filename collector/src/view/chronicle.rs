//! Questions that are answered from what hosts sent over a stretch of time, not from a picture of one moment. Whoever
//! reads the records shows them here, host by host and each host's in order; the answer is made when all were shown.

use super::logs::Logs;
use super::question::{BadQuestion, Question, parse_time};
use super::timeline::Timeline;
use super::{Answer, View, stamp};
use crate::model::{HostState, Record};

/// Which records an answer is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Whose.
    pub hosts: Vec<String>,
    /// Taken from then on, unix microseconds.
    pub from_us: i64,
    /// To then.
    pub to_us: i64,
}

/// An answer that is being made from records.
pub trait Chronicle: Send {
    /// Which records it wants.
    fn stretch(&self) -> Stretch;
    /// A record of a host, and the host as it was right after it.
    fn take(&mut self, record: &Record, host: &HostState);
    /// A record that is nobody's alone.
    fn take_shared(&mut self, record: &Record);
    /// Some of the records could not be read.
    fn unreadable(&mut self, why: String);
    /// The answer.
    fn answer(self: Box<Self>) -> Answer;
}

/// The chronicle that answers a question, where records are kept since `kept_since_us`. None: a view answers it.
pub fn chronicle(
    view: &View,
    kept_since_us: Option<i64>,
    question: &Question,
) -> Result<Option<Box<dyn Chronicle>>, BadQuestion> {
    Ok(match question {
        Question::Timeline { target, at, since_us } => {
            Some(Box::new(Timeline::new(view, kept_since_us, target, at.as_deref(), *since_us)?))
        }
        Question::Logs { target, at, filter } => {
            Some(Box::new(Logs::new(view, kept_since_us, target, at.as_deref(), filter)?))
        }
        _ => None,
    })
}

/// A past time as given; one that has not come yet is refused. None: now.
pub fn moment(view: &View, at: Option<&str>) -> Result<Option<i64>, BadQuestion> {
    let Some(at_us) = at.map(|at| parse_time(at, view.at_us)).transpose()? else { return Ok(None) };
    if at_us > view.at_us {
        return Err(BadQuestion(format!("{} lies in the future: it is {}", stamp(at_us), stamp(view.at_us))));
    }
    // Times are told in milliseconds: the whole one counts, so that what was told can be asked for.
    Ok(Some(at_us.saturating_add(999 - at_us.rem_euclid(1000))))
}
