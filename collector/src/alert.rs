//! Tells people: follows the views, plans what each sink is to be told, tells it, and submits the outcome to the engine as
//! a record. The next plan is made from a view that holds that record, so what a sink has confirmed is never told again,
//! not even by a collector that was killed and started again. Each sink has a task of its own; one that hangs holds up
//! nobody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::engine::{Handle, Refusal};
use crate::model::{Alert, AlertOutcome, AlertStep};
use crate::view::{SinkInfo, View};
use crate::wire;

mod alertmanager;
mod headers;
mod http;
mod message;
mod otlp;
mod plan;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod webhook;

use alertmanager::Alertmanagers;
use http::Client;
use message::Message;
use otlp::Exporter;
use plan::{Action, Tell, pause_us, plan};
use settings::Kind;
pub use settings::{Settings, Sink};
use webhook::Hook;

/// Most messages of one plan.
const BATCH: usize = 64;
const MINUTE_US: i64 = 60_000_000;
/// While the collector's disk is full, an outcome is submitted again after so long.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// All sinks, ready to be told.
pub struct Alerter {
    sinks: Vec<Arc<Outlet>>,
    collector_url: String,
}

/// A sink and the way to it.
struct Outlet {
    sink: Sink,
    way: Way,
}

enum Way {
    Alertmanager(Alertmanagers),
    Webhook(Box<Hook>),
    Otlp(Box<Exporter>),
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failed {
    why: String,
    /// The sink itself does not answer: there is no use in trying it with the next message now.
    sink: bool,
    /// The same message will fail for ever.
    hopeless: bool,
}

impl Failed {
    fn sink(why: String) -> Self {
        Self { why, sink: true, hopeless: false }
    }

    fn message(why: String) -> Self {
        Self { why, sink: false, hopeless: false }
    }

    fn hopeless(why: String) -> Self {
        Self { why, sink: false, hopeless: true }
    }
}

impl Alerter {
    /// Makes all sinks ready: reads their templates, keys and roots. The error names the sink.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let ready = |sink: &Sink| {
            let way = Way::new(sink).map_err(|why| format!("sink {:?}: {why}", sink.name))?;
            Ok(Arc::new(Outlet { sink: sink.clone(), way }))
        };
        let sinks = settings.sink.iter().map(ready).collect::<Result<_, String>>()?;
        Ok(Self { sinks, collector_url: settings.collector_url.clone() })
    }

    /// The sinks as people may see them.
    pub fn infos(&self) -> Vec<SinkInfo> {
        let info = |outlet: &Arc<Outlet>| SinkInfo {
            name: outlet.sink.name.clone(),
            kind: outlet.sink.kind.id().to_owned(),
            to: outlet.sink.targets().iter().map(|target| target.shown()).collect(),
        };
        self.sinks.iter().map(info).collect()
    }

    /// Tells all sinks until `closing` turns true or the engine ends.
    pub async fn run(&self, engine: Handle, closing: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for outlet in &self.sinks {
            let closing = closing.clone();
            let mut teller = Teller {
                outlet: outlet.clone(),
                collector_url: self.collector_url.clone(),
                engine: engine.clone(),
                again_us: HashMap::new(),
                minute: (0, 0),
                away: (0, 0),
            };
            tasks.spawn(async move { teller.run(closing).await });
        }
        tasks.join_all().await;
    }

    /// Sends a sample to one sink. The error tells why it did not arrive.
    pub async fn test(&self, name: &str) -> Result<(), String> {
        let Some(outlet) = self.sinks.iter().find(|outlet| outlet.sink.name == name) else {
            let known: Vec<&str> = self.sinks.iter().map(|outlet| outlet.sink.name.as_str()).collect();
            let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
            return Err(format!("there is no sink {name:?}: {known}"));
        };
        let now_us = unix_now_us();
        let message = Message::sample(&self.collector_url, &outlet.sink.labels, now_us);
        let labels = message.labels.clone();
        let (key, step, before) = (message.key.clone(), AlertStep::Opened, None);
        let tell = Tell { key, step, labels, before, incidents: Vec::new(), told_us: 0, last: false };
        outlet
            .deliver(&[(tell, message)], now_us)
            .await
            .into_iter()
            .collect::<Result<(), _>>()
            .map_err(|failed| failed.why)
    }
}

impl Way {
    fn new(sink: &Sink) -> Result<Self, String> {
        let needs_tls = sink.targets().iter().any(|target| target.tls);
        let client = Client::new(needs_tls, sink.ca_file.as_deref())?;
        Ok(match &sink.kind {
            Kind::Alertmanager(targets) => {
                Self::Alertmanager(Alertmanagers::new(targets, sink.resend_us.unwrap_or(MINUTE_US), client))
            }
            Kind::Webhook(webhook) => Self::Webhook(Box::new(Hook::new(webhook, client)?)),
            Kind::Otlp(otlp) => Self::Otlp(Box::new(Exporter::new(otlp, client)?)),
        })
    }
}

impl Outlet {
    /// Tells one after the other, or all at once where the sink takes that; gives an answer for each that was tried.
    async fn deliver(&self, tells: &[(Tell, Message)], now_us: i64) -> Vec<Result<(), Failed>> {
        let mut answers = Vec::new();
        for (tell, message) in tells {
            let answer = match &self.way {
                Way::Alertmanager(managers) => return vec![managers.deliver(tells, now_us).await; tells.len()],
                Way::Webhook(hook) => hook.deliver(message, now_us).await,
                Way::Otlp(exporter) => exporter.deliver(tell, message, now_us).await,
            };
            let away = matches!(&answer, Err(failed) if failed.sink);
            answers.push(answer);
            if away {
                break;
            }
        }
        answers
    }
}

/// Tells one sink.
struct Teller {
    outlet: Arc<Outlet>,
    collector_url: String,
    engine: Handle,
    /// When each open key was last told.
    again_us: HashMap<String, i64>,
    /// The minute and how many messages were sent in it.
    minute: (i64, u32),
    /// How often in a row the sink itself did not answer, and when last.
    away: (u32, i64),
}

impl Teller {
    /// Ends between two messages only: what a sink has confirmed must be recorded.
    async fn run(&mut self, mut closing: watch::Receiver<bool>) {
        let mut views = self.engine.views();
        loop {
            let view = views.borrow_and_update().clone();
            let outcomes = self.tell(&view).await;
            if self.record(&view, outcomes).await.is_err() {
                return;
            }
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    /// Tells what the view asks for; gives what is to be recorded.
    async fn tell(&mut self, view: &View) -> Vec<Alert> {
        let now_us = view.at_us;
        if self.away.0 > 0 && now_us - self.away.1 < pause_us(&self.outlet.sink.name, self.away.0) {
            return Vec::new();
        }
        let room = self.room(now_us);
        let actions = plan(&self.outlet.sink, view, &self.again_us, room);
        let (mut tells, mut outcomes) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Tell(tell) => {
                    let message = Message::new(&tell, &self.collector_url, now_us);
                    tells.push((tell, message));
                }
                Action::GiveUp { key, step, labels } => {
                    let why = "what it told of was over before it could be delivered".to_owned();
                    outcomes.push(self.alert(key, step, labels, AlertOutcome::GivenUp, why));
                }
            }
        }
        if tells.is_empty() {
            return outcomes;
        }
        let answers = self.outlet.deliver(&tells, now_us).await;
        self.minute.1 = self.minute.1.saturating_add(u32::try_from(answers.len()).unwrap_or(u32::MAX));
        self.notice(&answers, now_us);
        let failing: Vec<&str> = failing(view, &self.outlet.sink.name);
        for ((tell, _), answer) in tells.into_iter().zip(answers) {
            self.told(&tell, now_us);
            // Told again and confirmed as ever: nothing that a restart needs to know.
            let is_news = tell.step != AlertStep::Again || answer.is_err() || failing.contains(&tell.key.as_str());
            if is_news {
                outcomes.push(self.outcome(tell, answer));
            }
        }
        outcomes
    }

    /// How many messages may be sent now.
    fn room(&mut self, now_us: i64) -> usize {
        let minute = now_us / MINUTE_US;
        if self.minute.0 != minute {
            self.minute = (minute, 0);
        }
        let left = self.outlet.sink.most_per_minute.saturating_sub(self.minute.1);
        usize::try_from(left).unwrap_or(BATCH).min(BATCH)
    }

    /// Keeps whether the sink answers, and says so when that changes.
    fn notice(&mut self, answers: &[Result<(), Failed>], now_us: i64) {
        let name = &self.outlet.sink.name;
        match answers.iter().find_map(|answer| answer.as_ref().err()) {
            Some(failed) if failed.sink => {
                if self.away.0 == 0 {
                    warn!("alerts: sink {name:?} is away: {}", failed.why);
                }
                self.away = (self.away.0.saturating_add(1), now_us);
            }
            Some(failed) => warn!("alerts: sink {name:?}: {}", failed.why),
            None if self.away.0 > 0 => {
                info!("alerts: sink {name:?} answers again");
                self.away = (0, 0);
            }
            None => {}
        }
    }

    fn told(&mut self, tell: &Tell, now_us: i64) {
        match tell.step {
            AlertStep::Resolved => self.again_us.remove(&tell.key),
            _ => self.again_us.insert(tell.key.clone(), now_us),
        };
    }

    fn outcome(&self, tell: Tell, answer: Result<(), Failed>) -> Alert {
        let (outcome, why) = match answer {
            Ok(()) => (AlertOutcome::Delivered, String::new()),
            Err(failed) if failed.hopeless || tell.last => (AlertOutcome::GivenUp, failed.why),
            Err(failed) => (AlertOutcome::Failed, failed.why),
        };
        self.alert(tell.key, tell.step, tell.labels, outcome, why)
    }

    fn alert(
        &self,
        key: String,
        step: AlertStep,
        labels: message::Labels,
        outcome: AlertOutcome,
        why: String,
    ) -> Alert {
        Alert { sink: self.outlet.sink.name.clone(), key, step, outcome, why, labels }
    }

    /// Submits outcomes and waits until the view holds them: a plan made earlier would tell the same again.
    async fn record(&self, before: &View, outcomes: Vec<Alert>) -> Result<(), ()> {
        let sink = &self.outlet.sink.name;
        let awaited = before.book.attempts(sink) + outcomes.len() as u64;
        for outcome in outcomes {
            while let Err(refusal) = self.engine.take(wire::alert(outcome.clone())).await {
                if refusal != Refusal::Full {
                    return Err(());
                }
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
        let mut views = self.engine.views();
        views.wait_for(|view| view.book.attempts(sink) >= awaited).await.map(|_| ()).map_err(|_| ())
    }
}

fn unix_now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// The keys that a sink could not be told of.
fn failing<'a>(view: &'a View, sink: &str) -> Vec<&'a str> {
    view.book.letters(sink).filter(|(_, letter)| letter.failing.is_some()).map(|(key, _)| key).collect()
}
