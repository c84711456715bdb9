//! Compares what the collector says with what was done, while a story goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::story::{Expect, Story};
use super::world::World;
use super::{Done, ask, wait_for};

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
}

impl Outcome {
    /// As the lab's parent reads it.
    pub fn json(&self, fault: Option<&str>) -> Value {
        json!({
            "got": self.got, "confidence": self.confidence, "first_s": self.first_s, "right_s": self.right_s,
            "resolved_s": self.resolved_s, "fault": fault,
        })
    }
}

/// Plays a story in a world and fills its outcome as far as it comes.
pub fn play(story: &Story, world: &mut World, outcome: &mut Outcome) -> Done {
    healthy(world)?;
    let broken = Instant::now();
    (story.fault)(world)?;
    if story.expects.is_empty() {
        return silent(world, Duration::from_secs(8));
    }
    if !story.told_late {
        watch(story, world, outcome, broken, story.limit)?;
    } else {
        wait_for("an incident opens", story.limit, || ask::incidents().ok().filter(|all| !all.is_empty()))?;
    }
    let mended = Instant::now();
    (story.heal)(world)?;
    wait_for("clients are served again", SERVED_LIMIT, || {
        let newest = world.client().ok()?.since(mended);
        (newest.len() >= 20 && newest[newest.len() - 20..].iter().all(|answer| answer.is_ok())).then_some(())
    })?;
    if story.told_late {
        watch(story, world, outcome, mended, story.limit)?;
    }
    wait_for("every incident is resolved", RESOLVED_LIMIT, || {
        ask::incidents().ok()?.iter().all(|incident| incident["state"] == "resolved").then_some(())
    })?;
    outcome.resolved_s = Some(mended.elapsed().as_secs_f64());
    let incidents = ask::incidents()?;
    record(outcome, &story.expects, &incidents);
    let faults = faults(&story.labels(), &incidents);
    if !faults.is_empty() {
        return Err(format!("in the end: {}", faults.join("; ")));
    }
    counted(story, world, broken, &incidents)
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
fn watch(story: &Story, world: &World, outcome: &mut Outcome, broken: Instant, limit: Duration) -> Done {
    let mut right_since: Option<Instant> = None;
    let mut first: BTreeMap<String, Instant> = BTreeMap::new();
    let until = Instant::now() + limit;
    loop {
        let incidents = ask::incidents().unwrap_or_default();
        let now = Instant::now();
        for incident in &incidents {
            first.entry(incident["upstream"].to_string()).or_insert(now);
        }
        record(outcome, &story.expects, &incidents);
        let faults = faults(&story.labels(), &incidents);
        right_since = if faults.is_empty() { right_since.or(Some(now)) } else { None };
        let bad = first_bad(world, broken)?;
        if let (Some(since), false) = (right_since, first.is_empty()) {
            let earliest = first.values().min().copied().unwrap_or(now);
            let from = bad.unwrap_or(earliest);
            outcome.first_s = Some(earliest.saturating_duration_since(from).as_secs_f64());
            outcome.right_s = Some(since.saturating_duration_since(from).as_secs_f64());
            if now.duration_since(since) >= HOLD {
                return prompt(story, outcome);
            }
        }
        if now > until && right_since.is_none() {
            return Err(format!("not within {} s: {}", limit.as_secs(), faults.join("; ")));
        }
        std::thread::sleep(LOOK);
    }
}

fn prompt(story: &Story, outcome: &Outcome) -> Done {
    match outcome.first_s {
        Some(first_s) if first_s > FIRST_LIMIT.as_secs_f64() && !story.told_late => {
            Err(format!("the first verdict took {first_s:.1} s"))
        }
        _ => Ok(()),
    }
}

fn first_bad(world: &World, broken: Instant) -> Done<Option<Instant>> {
    let answers = world.client()?.since(broken);
    Ok(answers.iter().find(|answer| answer.status.is_none_or(|status| status >= 500)).map(|answer| answer.at))
}

fn record(outcome: &mut Outcome, expects: &[Expect], incidents: &[Value]) {
    outcome.got = expects
        .iter()
        .filter_map(|expect| incidents.iter().find(|incident| incident["upstream"] == *expect.upstream))
        .map(|incident| incident["cause"].as_str().unwrap_or("null").to_owned())
        .collect();
    let first = expects.first().and_then(|expect| incidents.iter().find(|one| one["upstream"] == *expect.upstream));
    outcome.confidence = first.and_then(|incident| incident["confidence"].as_f64()).unwrap_or(0.0);
}

/// Where incidents differ from their labels. A label is `{"upstream", "cause", "host", "evidence": [...], "advice": [...],
/// "missing": [...]}`: the first three must be equal (an empty host: not asked), of the lists each entry must stand
/// somewhere, whatever its case; `|` parts ways to say it.
pub fn faults(labels: &[Value], incidents: &[Value]) -> Vec<String> {
    let mut faults = Vec::new();
    for label in labels {
        let of_it: Vec<&Value> = incidents.iter().filter(|one| one["upstream"] == label["upstream"]).collect();
        if of_it.is_empty() {
            faults.push(format!("no incident for {}", label["upstream"]));
        }
        faults.extend(of_it.into_iter().flat_map(|incident| differs(label, incident)));
    }
    for incident in incidents {
        if !labels.iter().any(|label| incident["upstream"] == label["upstream"]) {
            faults.push(format!("false incident: {}", brief(std::slice::from_ref(incident))));
        }
    }
    faults
}

/// Where one incident differs from its label.
fn differs(label: &Value, incident: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let upstream = &label["upstream"];
    if incident["cause"] != label["cause"] {
        faults
            .push(format!("{upstream} is {} ({}), not {}", incident["cause"], incident["confidence"], label["cause"]));
        return faults;
    }
    if label["host"] != "" && incident["host"] != label["host"] {
        faults.push(format!("{upstream} is on {}, not {}", incident["host"], label["host"]));
    }
    for part in ["evidence", "advice", "missing"] {
        let text = incident[part].to_string().to_lowercase();
        let wanted = label[part].as_array().into_iter().flatten().filter_map(Value::as_str);
        let absent = wanted.filter(|ways| !ways.split('|').any(|way| text.contains(&way.to_lowercase())));
        faults.extend(absent.map(|ways| format!("{upstream}: no {part} says \"{ways}\"")));
    }
    if incident["evidence"].as_array().is_none_or(Vec::is_empty) {
        faults.push(format!("{upstream}: no evidence"));
    }
    faults
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

/// Incidents in a line each.
pub fn brief(incidents: &[Value]) -> String {
    let one = |incident: &Value| {
        let text = |key: &str| incident[key].as_str().unwrap_or("null").to_owned();
        format!(
            "{} {} {} {} ({})",
            text("state"),
            text("upstream"),
            text("host"),
            text("cause"),
            incident["confidence"]
        )
    };
    incidents.iter().map(one).collect::<Vec<_>>().join(", ")
}
