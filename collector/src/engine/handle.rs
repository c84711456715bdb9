//! The engine's front door: whoever holds a [`Handle`] may submit records and read the newest view.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{BATCH, HOSTS_MAX, Past, QUEUE};
use crate::view::{self, Answer, BadQuestion, Chronicle, Question, View, stamp};
use crate::wire::Incoming;

/// What became of a record that was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The highest number of its numbering below which nothing is missing. 0 where it has none.
    pub up_to: u64,
    /// When it was taken, unix microseconds.
    pub received_us: i64,
    /// It is a hello, and reports before those that it announces were never taken and come no more.
    pub missed_some: bool,
}

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Reports before it are missing.
    #[error("report {awaited} is awaited")]
    Gap {
        /// The number that would be taken.
        awaited: u64,
    },
    /// The disk is full.
    #[error("the collector's disk is full: nothing is taken until there is space")]
    Full,
    /// It is larger than the journal takes.
    #[error("the record is too large")]
    TooLarge,
    /// More hosts than are kept.
    #[error("the collector knows {HOSTS_MAX} hosts and takes no more")]
    TooManyHosts,
    /// The engine has ended.
    #[error("the collector is stopping")]
    Stopped,
}

pub(super) enum Command {
    Take(Box<Incoming>, Option<oneshot::Sender<Result<Taken, Refusal>>>),
    Stop,
}

/// The engine's front door and its newest view.
#[derive(Clone)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) views: watch::Receiver<Arc<View>>,
    pub(super) past: Past,
    pub(super) past_readers: Arc<Semaphore>,
}

/// The answer that a chronicle makes of the records that it wants.
fn told(past: &Past, mut chronicle: Box<dyn Chronicle>) -> Answer {
    let (stretch, mut files) = (chronicle.stretch(), past.files());
    for host in &stretch.hosts {
        let mut take = |record: &_, state: &_| chronicle.take(record, state);
        let read = past.records(&mut files, host, stretch.from_us, stretch.to_us, &mut take);
        if let Err(error) = read {
            chronicle.unreadable(error.to_string());
        }
    }
    let read = past.shared(stretch.from_us, stretch.to_us, &mut |record| chronicle.take_shared(record));
    if let Err(error) = read {
        chronicle.unreadable(error.to_string());
    }
    chronicle.answer()
}

impl Handle {
    /// Hands a record to the engine; the answer comes once it is durable. Waits while the queue is full.
    pub async fn submit(&self, incoming: Incoming) -> oneshot::Receiver<Result<Taken, Refusal>> {
        let (reply, answer) = oneshot::channel();
        // Where the engine has ended, the answer's sender is dropped with the command.
        let _ = self.commands.send(Command::Take(Box::new(incoming), Some(reply))).await;
        answer
    }

    /// Hands a record to the engine and waits for the answer.
    pub async fn take(&self, incoming: Incoming) -> Result<Taken, Refusal> {
        self.submit(incoming).await.await.unwrap_or(Err(Refusal::Stopped))
    }

    /// Hands over a record that nobody waits for.
    pub async fn tell(&self, incoming: Incoming) {
        let _ = self.commands.send(Command::Take(Box::new(incoming), None)).await;
    }

    /// More than half of the queue is taken: agents should slow down.
    pub fn loaded(&self) -> bool {
        self.waiting() > QUEUE / 2
    }

    /// Records that wait for the engine.
    pub fn waiting(&self) -> usize {
        QUEUE - self.commands.capacity()
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    /// The view that answers a question: the newest, or one of the past with what hosts looked like then.
    pub async fn view_for(&self, question: &Question) -> Result<Arc<View>, BadQuestion> {
        let now = self.view();
        let Some(at_us) = question.at_us(now.at_us)? else { return Ok(now) };
        if at_us > now.at_us {
            return Err(BadQuestion(format!("{} lies in the future: it is {}", stamp(at_us), stamp(now.at_us))));
        }
        let hosts = match question {
            Question::Why { target, .. } => view::concerned(&now, target),
            _ => self.past.hosts(),
        };
        // Times are told in milliseconds: the whole one counts, so that what was told can be asked for.
        let until_us = at_us.saturating_add(999 - at_us.rem_euclid(1000));
        let read = self.read_past(move |past| past.states(&hosts, until_us)).await;
        let hosts = read.map_err(BadQuestion)?.map_err(|error| BadQuestion(error.to_string()))?;
        let (kept_since_us, now) = (self.past.begins_us(), (*now).clone());
        Ok(Arc::new(View { at_us, kept_since_us, hosts, ..now }))
    }

    /// Answers a question from what it is about: the records of a stretch of time, or a view, as `from_view` does.
    pub async fn answer(
        &self,
        question: &Question,
        from_view: impl FnOnce(&View) -> Result<Answer, BadQuestion>,
    ) -> Result<Answer, BadQuestion> {
        let Some(chronicle) = view::chronicle(&self.view(), self.past.begins_us(), question)? else {
            return from_view(&*self.view_for(question).await?);
        };
        self.read_past(move |past| told(past, chronicle)).await.map_err(BadQuestion)
    }

    /// Reads the past on a thread of its own: from the disk, so few at once, and the present is never short of threads.
    pub async fn read_past<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Past) -> T + Send + 'static,
    ) -> Result<T, String> {
        let _turn = self.past_readers.acquire().await;
        let past = self.past.clone();
        tokio::task::spawn_blocking(move || read(&past)).await.map_err(|error| error.to_string())
    }

    /// Tells of each new view.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    /// Asks the engine to end once it has taken what waits.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
    }
}

/// What waits now, the first of it already received; true: the engine is to end after it.
pub(super) fn gather(first: Option<Option<Command>>, waiting: &mut mpsc::Receiver<Command>) -> (Vec<Command>, bool) {
    let mut batch = Vec::new();
    let mut next = match first {
        Some(Some(command)) => Some(command),
        // Every handle is gone: nobody can ask any more.
        Some(None) => return (batch, true),
        None => None,
    };
    while let Some(command) = next {
        if matches!(command, Command::Stop) {
            return (batch, true);
        }
        batch.push(command);
        if batch.len() >= BATCH {
            break;
        }
        next = waiting.try_recv().ok();
    }
    (batch, false)
}
