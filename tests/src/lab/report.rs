//! How stories went: a line each, what failed, and the matrix of causes and gateways.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::Value;

use super::story::Story;

/// Of the verdicts so many in a hundred may be late or unsure, never wrong and sure, never of another instance.
const MISSES_PERCENT: usize = 3;

/// One run of a story.
pub struct Row {
    name: String,
    round: usize,
    gateway: &'static str,
    expected: String,
    /// What its process told.
    pub result: Value,
    /// Why it was not played.
    pub skipped: Option<String>,
    /// What its process printed.
    pub output: String,
}

impl Row {
    /// Of a story that is yet to be played.
    pub fn of(story: &Story, round: usize) -> Self {
        let expected = match &story.expects[..] {
            [] => "nothing".to_owned(),
            expects => expects.iter().map(|expect| expect.cause).collect::<Vec<_>>().join(" + "),
        };
        let (name, gateway) = (story.name.clone(), story.plan.gateway.kind.id());
        Self { name, round, gateway, expected, result: Value::Null, skipped: None, output: String::new() }
    }

    fn failed(&self) -> bool {
        self.skipped.is_none() && !self.result["fault"].is_null()
    }

    /// Its verdict fell short of what was asked, within what the lab's target leaves for a busy machine.
    fn missed(&self) -> bool {
        self.failed() && self.result["short"] == true
    }

    fn seconds(&self, key: &str) -> Option<f64> {
        self.result[key].as_f64()
    }
}

/// A row as it is printed.
pub fn line(row: &Row) -> String {
    let text = |key| row.seconds(key).map_or("-".to_owned(), |number| format!("{number:.2}"));
    let got: Vec<&str> = row.result["got"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mark = match (&row.skipped, row.failed()) {
        (Some(_), _) => "SKIPPED",
        (None, false) => "ok",
        (None, true) if row.missed() => "MISSED",
        (None, true) => "FAILED",
    };
    let (first, right, resolved) = (text("first_s"), text("right_s"), text("resolved_s"));
    let (name, expected, got, confidence) = (&row.name, &row.expected, got.join(" + "), text("confidence"));
    format!("{mark:<8}{name:<40} {expected:<24} {got:<24} {confidence:>5} {first:>6} {right:>6} {resolved:>7}")
}

/// Prints the tables, what went wrong, and the sums.
pub fn tell(rows: &[Row], stopped: bool) -> ExitCode {
    let head = ["story", "expected", "got", "conf", "first", "right", "over"];
    let [story, expected, got, confidence, first, right, over] = head;
    println!("\n        {story:<40} {expected:<24} {got:<24} {confidence:>5} {first:>6} {right:>6} {over:>7}");
    rows.iter().for_each(|row| println!("{}", line(row)));
    let played: Vec<&Row> = rows.iter().filter(|row| row.skipped.is_none()).collect();
    let failed: Vec<&&Row> = played.iter().filter(|row| row.failed()).collect();
    for row in &failed {
        println!("\n==== {}\n{}", row.name, row.output);
    }
    matrix(&played);
    rounds(&played);
    let misses = failed.iter().filter(|row| row.missed()).count();
    let within = misses * 100 <= played.len() * MISSES_PERCENT;
    let counts_as = |row: &Row| if row.missed() && within { "MISSED " } else { "FAILED " };
    for row in &failed {
        println!("{} lab {}: {}", counts_as(row), row.name, row.result["fault"].as_str().unwrap_or_default());
    }
    for row in rows {
        if let Some(why) = &row.skipped {
            println!("SKIPPED lab {}: {why}", row.name);
        }
    }
    let (passed, skipped) = (played.len() - failed.len(), rows.len() - played.len());
    let (missed, failed) = if within { (misses, failed.len() - misses) } else { (0, failed.len()) };
    println!(
        "lab: {passed} passed, {failed} failed, {skipped} skipped; {missed} missed, of {} at most {MISSES_PERCENT} %",
        played.len()
    );
    if failed == 0 && !stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs of one cause behind one gateway.
#[derive(Default)]
struct Cell {
    runs: usize,
    cause: usize,
    instance: usize,
    evidence: usize,
    fix: usize,
    first_s: Vec<f64>,
    right_s: Vec<f64>,
}

impl Cell {
    fn add(&mut self, row: &Row) {
        let right = |part: &str| usize::from(row.result["right"][part] == true);
        self.runs += 1;
        self.cause += right("cause");
        self.instance += right("instance");
        self.evidence += right("evidence");
        self.fix += right("fix");
        self.first_s.extend(row.seconds("first_s"));
        self.right_s.extend(row.seconds("right_s"));
    }

    fn line(&self, cause: &str, gateway: &str) -> String {
        let of = |count: usize| format!("{count}/{}", self.runs);
        let seconds = |times: &[f64]| median(times).map_or("-".to_owned(), |time| format!("{time:.2}"));
        let (top, instance, evidence, fix) = (of(self.cause), of(self.instance), of(self.evidence), of(self.fix));
        let (first, right) = (seconds(&self.first_s), seconds(&self.right_s));
        format!("{cause:<40} {gateway:<8} {top:>7} {instance:>8} {evidence:>8} {fix:>7} {first:>7} {right:>7}")
    }
}

/// Cause by gateway: how often the cause, the instance, the evidence and the fix were right, and the median seconds from the
/// first failure to the first verdict and to the one that lasted.
fn matrix(played: &[&Row]) {
    let told: Vec<&&Row> = played.iter().filter(|row| row.expected != "nothing").collect();
    let mut cells: BTreeMap<(&str, &str), Cell> = BTreeMap::new();
    let mut all = Cell::default();
    for row in &told {
        cells.entry((&row.expected, row.gateway)).or_default().add(row);
        all.add(row);
    }
    let head = ["cause", "gateway", "top-1", "instance", "evidence", "fix", "first s", "right s"];
    let [cause, gateway, top, instance, evidence, fix, first, right] = head;
    println!("\n{cause:<40} {gateway:<8} {top:>7} {instance:>8} {evidence:>8} {fix:>7} {first:>7} {right:>7}");
    cells.iter().for_each(|((cause, gateway), cell)| println!("{}", cell.line(cause, gateway)));
    println!("{}", all.line("all", ""));
    let wrong: Vec<String> = played
        .iter()
        .filter_map(|row| row.result["confident_wrong"].as_str().map(|what| format!("{}: {what}", row.name)))
        .collect();
    println!("wrong verdicts with a confidence over 0.8 that lasted 3 s: {}", wrong.len());
    wrong.iter().for_each(|what| println!("  {what}"));
}

/// How each round went, where there were several, and which stories were not right in all of them: the target is to be met
/// by each round.
fn rounds(played: &[&Row]) {
    let count = played.iter().map(|row| row.round + 1).max().unwrap_or(0);
    if count < 2 {
        return;
    }
    for round in 0..count {
        let of_it: Vec<&&Row> = played.iter().filter(|row| row.round == round).collect();
        let short = of_it.iter().filter(|row| row.missed()).count();
        let failed = of_it.iter().filter(|row| row.failed()).count() - short;
        let sure = of_it.iter().filter(|row| row.result["confident_wrong"].is_string()).count();
        let within = failed == 0 && sure == 0 && short * 100 <= of_it.len() * MISSES_PERCENT;
        let verdict = if within { "within the target" } else { "not within the target" };
        let number = round + 1;
        println!(
            "round {number}: of {} stories {short} fell short, {failed} failed, {sure} surely wrong: {verdict}",
            of_it.len()
        );
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for row in played.iter().filter(|row| row.failed()) {
        *times.entry(&row.name).or_default() += 1;
    }
    times.iter().for_each(|(name, times)| println!("not right in {times} of {count} rounds: {name}"));
}

fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
