//! A timeline as text: for each subject a row of its state and a sparkline of each reading, all over the same columns, with
//! marks for what happened above the subject that it happened to, then what happened as a list. As wide as the terminal.

use std::fmt::Write;

use super::{Style, Tone, nobody, short_time, size};
use crate::view::*;

/// Width where there is no terminal.
const WIDTH: usize = 100;
/// Least width of a chart.
const CHART_MIN: usize = 20;
/// Width of the names before the charts.
const NAMES: usize = 12;
/// Width of the figures behind them.
const FIGURES: usize = 22;
/// Sparks from least to most.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What happened, by the mark for it, most telling first: of several in one column the first of these is drawn.
const MARKS: [(char, &[&str], Tone); 7] = [
    ('!', &["incident"], Tone::Bad),
    ('x', &["exit", "oom_kill"], Tone::Bad),
    ('^', &["start", "boot"], Tone::Good),
    ('D', &["deploy", "config"], Tone::Warn),
    ('h', &["health", "listen", "role", "probe"], Tone::Warn),
    ('g', &["gateway", "link", "kernel", "clock", "agent"], Tone::Warn),
    ('l', &["log"], Tone::Faint),
];

/// The states, each with its sign.
const STATES: [(&str, char, Tone); 9] = [
    ("running", '=', Tone::Good),
    ("up", '=', Tone::Good),
    ("unknown", '?', Tone::Warn),
    ("stopped", '?', Tone::Warn),
    ("silent", '?', Tone::Warn),
    ("unhealthy", '~', Tone::Warn),
    ("paused", 'z', Tone::Bad),
    ("not_listening", 'o', Tone::Bad),
    ("not_running", 'x', Tone::Bad),
];

/// A timeline as text.
pub fn timeline(doc: &TimelineDoc, style: Style) -> String {
    if doc.tracks.is_empty() {
        return nobody(&doc.target, &doc.near);
    }
    let chart = Chart::new(doc, style);
    let mut out = String::new();
    let (from, to) = (short_time(&doc.from, ""), short_time(&doc.to, &doc.from));
    let step = duration(doc.step_ms * chart.join as i64);
    let _ = writeln!(out, "{}  {from} to {to}, a column is {step}\n", clean(&doc.target));
    for track in &doc.tracks {
        chart.track(track, &mut out);
    }
    chart.axis(&mut out);
    let _ = writeln!(out, "{}", style.paint(Tone::Faint, LEGEND));
    happenings(doc, style, &mut out);
    for why in &doc.unreadable {
        let _ = writeln!(out, "{}", style.paint(Tone::Warn, &clean(why)));
    }
    if doc.tracks_left_out > 0 {
        let _ = writeln!(out, "{} more instances and upstreams are left out", doc.tracks_left_out);
    }
    out
}

const LEGEND: &str = "state: = good  ~ unhealthy  z paused  o not listening  x not running  ? not known
marks: ! incident  x end  ^ start  D deploy  h health, port, role, probe  g gateway, link, kernel, agent  l log";

fn happenings(doc: &TimelineDoc, style: Style, out: &mut String) {
    if !doc.happenings.is_empty() {
        out.push('\n');
    }
    if doc.happenings_left_out > 0 {
        let _ = writeln!(out, "{} earlier are left out", doc.happenings_left_out);
    }
    for one in &doc.happenings {
        let tone = mark(&one.kind).map_or(Tone::Plain, |(_, tone)| tone);
        let at = short_time(&one.at, &doc.to);
        let whose = [one.host.as_str(), one.subject.as_str()].into_iter().filter(|name| !name.is_empty());
        let whose = clean(&whose.collect::<Vec<_>>().join("/")).into_owned();
        let often = if one.count > 1 { format!(" ({} times)", one.count) } else { String::new() };
        let line = format!("{at}  {:8}  {whose}: {}{often}", clean(&one.kind), clean(&one.says));
        let _ = writeln!(out, "{}", style.paint(tone, &line));
    }
}

fn mark(kind: &str) -> Option<(usize, Tone)> {
    let rank = MARKS.iter().position(|(_, kinds, _)| kinds.contains(&kind))?;
    Some((rank, MARKS[rank].2))
}

/// How columns become characters.
struct Chart<'a> {
    doc: &'a TimelineDoc,
    style: Style,
    /// Columns of the document that one character stands for.
    join: usize,
    /// Characters.
    width: usize,
}

impl<'a> Chart<'a> {
    fn new(doc: &'a TimelineDoc, style: Style) -> Self {
        let columns = doc
            .tracks
            .iter()
            .flat_map(|track| track.readings.iter().map(|one| one.values.len()).chain([track.states.len()]));
        let columns = columns.max().unwrap_or(0).max(1);
        let room = style.width.unwrap_or(WIDTH).saturating_sub(NAMES + FIGURES + 2).max(CHART_MIN);
        let join = columns.div_ceil(room);
        Self { doc, style, join, width: columns.div_ceil(join) }
    }

    fn track(&self, track: &TrackDoc, out: &mut String) {
        let title = match track.kind.as_str() {
            "host" => format!("host {}", track.name),
            "upstream" => format!("{} on {} -> {}", track.gateway, track.host, track.name),
            _ => format!("{} on {}", track.name, track.host),
        };
        let _ = writeln!(out, "{}", clean(&title));
        if let Some(marks) = self.marks(track) {
            self.row("", &marks, "", out);
        }
        if !track.states.is_empty() {
            let last = track.states.iter().rev().find(|state| !state.is_empty());
            self.row("state", &self.states(&track.states), last.map_or("", String::as_str), out);
        }
        for reading in &track.readings {
            let (sparks, figure) = self.sparks(reading);
            self.row(&reading.name, &[(Tone::Plain, sparks)], &figure, out);
        }
        out.push('\n');
    }

    /// A row: a name, the chart in pieces of one tone each, a figure.
    fn row(&self, name: &str, pieces: &[(Tone, String)], figure: &str, out: &mut String) {
        let name: String = clean(name).chars().take(NAMES - 3).collect();
        let chart: String = pieces.iter().map(|(tone, text)| self.style.paint(*tone, text)).collect();
        let line = format!("  {name:<0$}{chart}  {1}", NAMES - 2, clean(figure));
        let _ = writeln!(out, "{}", line.trim_end());
    }

    fn states(&self, states: &[String]) -> Vec<(Tone, String)> {
        let sign = |state: &String| STATES.iter().position(|(word, _, _)| word == state);
        let signs = states.chunks(self.join).map(|joined| match joined.iter().filter_map(sign).max() {
            Some(worst) => (STATES[worst].2, STATES[worst].1),
            None => (Tone::Faint, ' '),
        });
        pieces(signs)
    }

    /// The largest of each character's values, or their sum, against the largest of all.
    fn sparks(&self, reading: &ReadingDoc) -> (String, String) {
        let sum = reading.joined == "sum";
        let joined: Vec<Option<f64>> = reading
            .values
            .chunks(self.join)
            .map(|values| {
                let known = values.iter().flatten().copied().filter(|value| value.is_finite());
                known.reduce(|a, b| if sum { a + b } else { a.max(b) })
            })
            .collect();
        let most = joined.iter().flatten().copied().fold(0.0, f64::max);
        let spark = |value: &Option<f64>| match value {
            None => ' ',
            // What is not nothing must be seen.
            Some(value) if *value <= 0.0 || most <= 0.0 => {
                if sum {
                    '.'
                } else {
                    SPARKS[0]
                }
            }
            Some(value) => SPARKS[((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
        };
        let figure = if sum {
            let total: f64 = reading.values.iter().flatten().sum();
            format!("{total:.0} in all")
        } else {
            format!("most {}", figure(most, &reading.unit))
        };
        (joined.iter().map(spark).collect(), figure)
    }

    fn marks(&self, track: &TrackDoc) -> Option<Vec<(Tone, String)>> {
        let mut ranks: Vec<Option<usize>> = vec![None; self.width];
        for one in self.doc.happenings.iter().filter(|one| is_of(track, one)) {
            let (Some((rank, _)), Some(place)) = (mark(&one.kind), self.place(&one.at)) else { continue };
            if let Some(slot) = ranks.get_mut(place) {
                *slot = Some(slot.map_or(rank, |before| before.min(rank)));
            }
        }
        ranks.iter().any(Option::is_some).then(|| {
            pieces(ranks.iter().map(|rank| rank.map_or((Tone::Plain, ' '), |rank| (MARKS[rank].2, MARKS[rank].0))))
        })
    }

    /// The character that a time lies in.
    fn place(&self, at: &str) -> Option<usize> {
        let (at_us, from_us) = (parse_time(at, 0).ok()?, parse_time(&self.doc.from, 0).ok()?);
        let step_us = self.doc.step_ms.checked_mul(1000)?.checked_mul(i64::try_from(self.join).ok()?)?;
        let place = at_us.checked_sub(from_us)?.checked_div(step_us)?;
        Some(usize::try_from(place).ok()?.min(self.width.saturating_sub(1)))
    }

    fn axis(&self, out: &mut String) {
        let (from, to) = (short_time(&self.doc.from, &self.doc.to), short_time(&self.doc.to, &self.doc.to));
        let gap = self.width.saturating_sub(from.chars().count() + to.chars().count());
        let _ = writeln!(out, "{}{from}{}{to}", " ".repeat(NAMES), " ".repeat(gap.max(1)));
    }
}

/// What happened to an instance, a host itself, or before an upstream.
fn is_of(track: &TrackDoc, one: &HappeningDoc) -> bool {
    match track.kind.as_str() {
        "host" => one.host == track.name && one.subject.is_empty(),
        "upstream" => {
            one.subject == track.name
                || (one.host == track.host && one.subject == track.gateway && one.kind == "gateway")
        }
        _ => one.subject == track.name && (one.host == track.host || one.host.is_empty()),
    }
}

/// Neighbours of one tone as one piece.
fn pieces(signs: impl Iterator<Item = (Tone, char)>) -> Vec<(Tone, String)> {
    let mut pieces: Vec<(Tone, String)> = Vec::new();
    for (tone, sign) in signs {
        match pieces.last_mut() {
            Some((last, text)) if *last == tone => text.push(sign),
            _ => pieces.push((tone, sign.to_string())),
        }
    }
    pieces
}

fn figure(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => format!("{:.0}%", value * 100.0),
        "bytes" => size(Some(value as u64)),
        "ms" => format!("{value:.1} ms"),
        "cpus" => format!("{value:.2} CPUs"),
        "connections" => format!("{value:.0} waiting"),
        _ => format!("{value:.1} {}", clean(unit)),
    }
}

fn duration(ms: i64) -> String {
    match ms / 1000 {
        s if s % 3600 == 0 && s > 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 && s > 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
