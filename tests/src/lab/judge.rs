//! Compares what the collector says with what was done, while a story goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Answer;
use super::label::{self, Part, brief};
use super::story::Story;
use super::world::World;
use super::{Doing, Done, ask, wait_for};

/// Healthy traffic before a fault: answers, and for how long.
const HEALTHY: (usize, Duration) = (60, Duration::from_secs(3));
/// From the first failure to the first verdict.
const FIRST_LIMIT: Duration = Duration::from_secs(3);
/// How long a verdict must stay right before it is believed.
const HOLD: Duration = Duration::from_secs(3);
/// From mended to served.
const SERVED_LIMIT: Duration = Duration::from_secs(60);
/// From served to resolved.
const RESOLVED_LIMIT: Duration = Duration::from_secs(150);
/// How often the collector is asked.
const LOOK: Duration = Duration::from_millis(100);

/// The file that says that a story has nothing more to do than to wait.
pub const QUIET: &str = "quiet";
/// Between two requests while it waits.
const QUIET_EVERY: Duration = Duration::from_millis(250);

/// How a story went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Causes as expected, by upstream.
    pub got: Vec<String>,
    /// Confidence of the first.
    pub confidence: f64,
    /// From the client's first bad answer to the first verdict, seconds.
    pub first_s: Option<f64>,
    /// To the right verdict.
    pub right_s: Option<f64>,
    /// From mended to resolved.
    pub resolved_s: Option<f64>,
    /// Parts in which what was said last differs from what had to be said. None: nothing was said.
    pub missed: Option<Vec<Part>>,
    /// A wrong verdict that was given with more than four fifths and held as long as one must to be believed, and when.
    pub confident_wrong: Option<String>,
    /// What failed is that a verdict was late, unsure or incomplete, of the right instance and never surely wrong.
    pub short: bool,
    /// Such a verdict as it stands now, and since when.
    wrong_since: Option<(Instant, String)>,
}

impl Outcome {
    /// As the lab's parent reads it.
    pub fn json(&self, fault: Option<&str>) -> Value {
        let right = |part| {
            self.missed.as_ref().is_some_and(|missed| !missed.iter().any(|one| [part, Part::Cause].contains(one)))
        };
        json!({
            "got": self.got, "confidence": self.confidence, "first_s": self.first_s, "right_s": self.right_s,
            "resolved_s": self.resolved_s, "fault": fault, "confident_wrong": self.confident_wrong,
            "short": self.short,
            "right": {
                "cause": right(Part::Cause), "instance": right(Part::Instance), "evidence": right(Part::Evidence),
                "fix": right(Part::Fix),
            },
        })
    }

    /// The story fails for what was said, or not said in time.
    fn falls_short(&mut self, why: String) -> Done {
        let elsewhere = self.missed.as_ref().is_some_and(|missed| missed.contains(&Part::Instance));
        self.short = self.confident_wrong.is_none() && !elsewhere;
        Err(why)
    }

    /// Takes note of what is said now. Returns where it differs from what must be said.
    fn note(&mut self, labels: &[Value], incidents: &[Value], broken: Instant) -> Vec<String> {
        let of_label = |label: &Value| incidents.iter().find(|incident| incident["upstream"] == label["upstream"]);
        let cause = |incident: &Value| incident["cause"].as_str().unwrap_or("null").to_owned();
        self.got = labels.iter().filter_map(of_label).map(cause).collect();
        let first = labels.first().and_then(of_label);
        self.confidence = first.and_then(|incident| incident["confidence"].as_f64()).unwrap_or(0.0);
        let faults = label::compare(labels, incidents);
        self.missed = (!incidents.is_empty()).then(|| faults.iter().map(|fault| fault.part).collect());
        self.wrong_since = label::confident_wrong(labels, incidents).map(|wrong| match self.wrong_since.take() {
            Some((since, before)) if before == wrong => (since, before),
            _ => (Instant::now(), wrong),
        });
        if let (None, Some((since, wrong))) = (&self.confident_wrong, &self.wrong_since)
            && since.elapsed() >= HOLD
        {
            self.confident_wrong = Some(format!("{wrong} {:.1} s after the fault", broken.elapsed().as_secs_f64()));
        }
        faults.into_iter().map(|fault| fault.says).collect()
    }
}

/// Plays a story in a world and fills its outcome as far as it comes.
pub fn play(story: &Story, world: &mut World, outcome: &mut Outcome) -> Done {
    healthy(world)?;
    let broken = Instant::now();
    let seen = break_it(story, world)?;
    if story.expects.is_empty() {
        return silent(world, Duration::from_secs(8));
    }
    let labels = story.labels();
    if !story.told_late {
        watch(story, &labels, world, outcome, Break { at: broken, seen })?;
    } else if !story.until_told.is_empty() {
        watch(story, &story.labels_of(&story.until_told), world, &mut Outcome::default(), Break { at: broken, seen })?;
    } else {
        wait_for("an incident opens", story.limit, || ask::incidents().ok().filter(|all| !all.is_empty()))?;
    }
    let mended = Instant::now();
    (story.heal)(world)?;
    wait_for("clients are served again", SERVED_LIMIT, || {
        let newest = world.client().ok()?.since(mended);
        (newest.len() >= 20 && newest[newest.len() - 20..].iter().all(Answer::is_served)).then_some(())
    })?;
    if story.told_late {
        watch(story, &labels, world, outcome, Break { at: mended, seen: None })?;
    }
    resolved(world)?;
    outcome.resolved_s = Some(mended.elapsed().as_secs_f64());
    let incidents = ask::incidents()?;
    let faults = outcome.note(&labels, &incidents, broken);
    if !faults.is_empty() {
        return outcome.falls_short(format!("in the end: {}", faults.join("; ")));
    }
    counted(story, world, broken, &incidents)
}

/// When something was broken, and when an incident was first there while that went on.
#[derive(Clone, Copy)]
struct Break {
    at: Instant,
    seen: Option<Instant>,
}

/// Breaks what the story breaks, which may take its time, and sees when the first incident is there meanwhile.
fn break_it(story: &Story, world: &mut World) -> Done<Option<Instant>> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if ask::incidents().is_ok_and(|all| !all.is_empty()) {
                    return Some(Instant::now());
                }
                thread::sleep(LOOK);
            }
            None
        });
        let done = (story.fault)(world);
        over.store(true, Ordering::Relaxed);
        let seen = looks.join().unwrap_or(None);
        done.map(|()| seen)
    })
}

/// Waits until every incident is resolved, and lets others have the machine meanwhile.
fn resolved(world: &World) -> Done {
    world.client()?.change(|traffic| traffic.every = traffic.every.max(QUIET_EVERY));
    std::fs::write(world.dir.join(QUIET), "").doing("say that it is quiet")?;
    wait_for("every incident is resolved", RESOLVED_LIMIT, || {
        ask::incidents().ok()?.iter().all(|incident| incident["state"] == "resolved").then_some(())
    })
}

/// Traffic goes well and nothing opens.
fn healthy(world: &World) -> Done {
    let from = Instant::now();
    wait_for("healthy traffic", SERVED_LIMIT, || {
        let answers = world.client().ok()?.since(from);
        let enough = answers.len() >= HEALTHY.0.min(answers.len().max(1)) && from.elapsed() >= HEALTHY.1;
        (enough && answers.iter().all(|answer| answer.is_ok())).then_some(())
    })?;
    none_open("healthy traffic opened")
}

fn none_open(what: &str) -> Done {
    let incidents = ask::incidents()?;
    if incidents.is_empty() { Ok(()) } else { Err(format!("{what} {}", brief(&incidents))) }
}

/// Nothing may open for a while.
fn silent(world: &World, stretch: Duration) -> Done {
    let from = Instant::now();
    wait_for("the stretch", stretch * 2, || (from.elapsed() >= stretch).then_some(()))?;
    let bad = world.client()?.since(from).iter().filter(|answer| answer.status.is_none_or(|code| code >= 500)).count();
    if bad > 0 {
        return Err(format!("{bad} clients were not served in a story that breaks nothing"));
    }
    none_open("nothing was broken, yet there opened")
}

/// Waits until each expected verdict is there and has held, and keeps the times.
fn watch(story: &Story, labels: &[Value], world: &World, outcome: &mut Outcome, broken: Break) -> Done {
    let (broken, mut first) = (broken.at, broken.seen);
    let mut right_since: Option<Instant> = None;
    let until = Instant::now() + story.limit;
    loop {
        let incidents = ask::incidents().unwrap_or_default();
        let now = Instant::now();
        if !incidents.is_empty() {
            first.get_or_insert(now);
        }
        let faults = outcome.note(labels, &incidents, broken);
        right_since = if faults.is_empty() { right_since.or(Some(now)) } else { None };
        let bad = first_bad(world, broken)?;
        if let (Some(since), Some(first)) = (right_since, first) {
            let from = bad.unwrap_or(first);
            outcome.first_s = Some(first.saturating_duration_since(from).as_secs_f64());
            outcome.right_s = Some(since.saturating_duration_since(from).as_secs_f64());
            if now.duration_since(since) >= HOLD {
                return prompt(story, outcome);
            }
        }
        if now > until && right_since.is_none() {
            return outcome.falls_short(format!("not within {} s: {}", story.limit.as_secs(), faults.join("; ")));
        }
        thread::sleep(LOOK);
    }
}

fn prompt(story: &Story, outcome: &mut Outcome) -> Done {
    match outcome.first_s {
        Some(first_s) if first_s > FIRST_LIMIT.as_secs_f64() && !story.told_late => {
            outcome.falls_short(format!("the first verdict took {first_s:.1} s"))
        }
        _ => Ok(()),
    }
}

fn first_bad(world: &World, broken: Instant) -> Done<Option<Instant>> {
    let answers = world.client()?.since(broken);
    Ok(answers.iter().find(|answer| answer.status.is_none_or(|status| status >= 500)).map(|answer| answer.at))
}

/// Incidents count about what clients met.
fn counted(story: &Story, world: &World, broken: Instant, incidents: &[Value]) -> Done {
    let bad = world.client()?.since(broken).iter().filter(|one| one.status.is_some_and(|status| status >= 500)).count();
    let told: u64 = incidents.iter().filter_map(|incident| incident["count"].as_u64()).sum();
    let (told, bad) = (told as f64, bad as f64);
    let most = if story.least_counted > 0.0 { bad * 1.2 + 5.0 } else { f64::MAX };
    if told < bad * story.least_counted || told > most || told < 1.0 {
        return Err(format!("{told} failures were counted, clients met {bad}"));
    }
    Ok(())
}
