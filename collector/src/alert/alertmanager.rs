//! Alertmanager's API, version 2. It knows an alert by its labels and forgets what is not sent again in time, so what is
//! open is sent with an end in the near future, and once more with its true end when it is over. Each of several
//! Alertmanagers gets everything; they agree among themselves who speaks. It is enough that one takes it.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::Failed;
use super::http::Client;
use super::message::{Labels, Message};
use super::plan::Tell;
use super::settings::Target;
use crate::model::{AlertStep, Incident};
use crate::view::stamp;

/// Alertmanager takes an alert for over that was not sent again for so many times its interval.
const MISSED_MAX: i64 = 5;
/// Longest annotation, characters.
const ANNOTATION_MAX: usize = 4_000;

/// Several Alertmanagers that are ready to be told.
pub struct Alertmanagers {
    client: Client,
    targets: Vec<Target>,
    resend_us: i64,
}

impl Alertmanagers {
    /// Those at `targets`, told again each `resend_us`.
    pub fn new(targets: &[Target], resend_us: i64, client: Client) -> Self {
        let targets = targets.iter().map(|target| target.below("/api/v2/alerts")).collect();
        Self { client, targets, resend_us }
    }

    /// Sends all to all; done once one of them has taken it.
    pub async fn deliver(&self, tells: &[(Tell, Message)], now_us: i64) -> Result<(), Failed> {
        let alerts: Vec<Value> = tells.iter().flat_map(|(tell, message)| self.alerts(tell, message, now_us)).collect();
        let body = Value::from(alerts).to_string().into_bytes();
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
        let mut posts = JoinSet::new();
        for target in self.targets.clone() {
            let (client, headers, body) = (self.client.clone(), headers.clone(), body.clone());
            posts.spawn(async move { (client.post(&target, &headers, body).await, target.shown()) });
        }
        let (mut taken, mut faults, mut hopeless) = (false, Vec::new(), true);
        while let Some(Ok((answer, shown))) = posts.join_next().await {
            match answer {
                Ok(answer) if answer.status.is_success() => taken = true,
                Ok(answer) => {
                    hopeless &= answer.status == StatusCode::BAD_REQUEST;
                    faults.push(format!("{shown}: answered {}", answer.status));
                }
                Err(why) => {
                    hopeless = false;
                    faults.push(why);
                }
            }
        }
        faults.sort();
        match (taken, hopeless) {
            (true, _) => Ok(()),
            (false, true) => Err(Failed::hopeless(faults.join("; "))),
            (false, false) => Err(Failed::sink(faults.join("; "))),
        }
    }

    fn alerts(&self, tell: &Tell, message: &Message, now_us: i64) -> Vec<Value> {
        let ended_us = tell.incidents.iter().filter_map(|one| one.resolved_us).max().unwrap_or(now_us).min(now_us);
        let open_until_us = now_us + self.resend_us * MISSED_MAX;
        let began_us = tell.incidents.iter().map(|one: &std::sync::Arc<Incident>| one.first_seen_us).min();
        let began_us = began_us.unwrap_or(ended_us).min(ended_us);
        let alert = |labels: &Labels, until_us: i64| json!({"labels": labels, "annotations": annotations(message), "startsAt": stamp(began_us), "endsAt": stamp(until_us)});
        match tell.step {
            AlertStep::Opened | AlertStep::Again => vec![alert(&tell.labels, open_until_us)],
            AlertStep::Resolved => vec![alert(&tell.labels, ended_us)],
            // Under other labels it is another alert: the old one ends where the new one begins.
            AlertStep::Changed => {
                let before = tell.before.iter().map(|before| alert(before, now_us));
                before.chain([alert(&tell.labels, open_until_us)]).collect()
            }
        }
    }
}

fn annotations(message: &Message) -> Value {
    let texts = [
        ("summary", message.sentence.clone()),
        ("description", format!("{} failed attempts since {}", message.count, message.first_seen)),
        ("evidence", message.evidence_lines().collect::<Vec<_>>().join("\n")),
        ("missing", message.missing.join("\n")),
        ("advice", message.advice.join("\n")),
        ("ask", message.ask.clone()),
        ("confidence", format!("{:.2}", message.confidence)),
    ];
    let told = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let cut = |text: String| Value::from(text.chars().take(ANNOTATION_MAX).collect::<String>());
    told.map(|(name, text)| (name.to_owned(), cut(text))).collect::<Map<_, _>>().into()
}
