//! Incidents: as table lines, as a report, as they come.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::table::Table;
use super::words::{between, hanging};
use super::{Style, Tone, fleet, nobody, option, or_dash, percent, short_time};
use crate::view::*;

/// Incidents as a table.
pub fn incidents(incidents: &[IncidentDoc], style: Style) -> String {
    if incidents.is_empty() {
        return "no incident fits\n".to_owned();
    }
    // The newest change stands for now: a table tells no date that all its times share.
    let now = incidents.iter().map(|one| one.changed.as_str()).max().unwrap_or_default();
    table(incidents, now, style)
}

/// Incidents as a table, those of one group as one line.
pub fn table(incidents: &[IncidentDoc], now: &str, style: Style) -> String {
    let mut table = Table::new(
        &["SINCE", "STATE", "UPSTREAM", "SERVICE", "HOST", "COUNT", "CAUSE", "SURE", "GATEWAY", "ID"],
        &["GATEWAY", "ID", "HOST", "SERVICE"],
    );
    for fold in fold(incidents) {
        let (one, open) = (fold.lead, fold.open());
        table.row(
            if open { Tone::Bad } else { Tone::Faint },
            vec![
                short_time(fold.first_seen(), now),
                (if open { "open" } else { "resolved" }).to_owned(),
                and_more(option(one.upstream.as_deref()), fold.upstreams()),
                option(one.service.as_deref()),
                option(one.host.as_deref()),
                fold.count().to_string(),
                one.cause.clone(),
                percent(Some(one.confidence)),
                and_more(gateway(one), fold.gateways()),
                one.id.clone(),
            ],
        );
    }
    table.render(style)
}

/// Incidents that one cause explains, told as one.
pub(super) struct Fold<'a> {
    /// The first of them, which is told in full.
    pub lead: &'a IncidentDoc,
    /// The others.
    pub also: Vec<&'a IncidentDoc>,
}

/// Incidents with those of one group together, in the order of their first.
pub(super) fn fold(incidents: &[IncidentDoc]) -> Vec<Fold<'_>> {
    let mut folds: Vec<Fold<'_>> = Vec::new();
    let mut groups: HashMap<&str, usize> = HashMap::new();
    for one in incidents {
        let place = one.group.as_deref().map(|group| *groups.entry(group).or_insert(folds.len()));
        match place.and_then(|place| folds.get_mut(place)) {
            Some(fold) => fold.also.push(one),
            None => folds.push(Fold { lead: one, also: Vec::new() }),
        }
    }
    folds
}

impl<'a> Fold<'a> {
    fn all(&self) -> impl Iterator<Item = &'a IncidentDoc> {
        std::iter::once(self.lead).chain(self.also.iter().copied())
    }

    /// Whether any is open.
    pub fn open(&self) -> bool {
        self.all().any(|one| one.state == "open")
    }

    /// The first failure of all.
    pub fn first_seen(&self) -> &'a str {
        self.all().map(|one| one.first_seen.as_str()).min().unwrap_or_default()
    }

    /// Failed attempts of all.
    pub fn count(&self) -> u64 {
        self.all().fold(0, |sum, one| sum.saturating_add(one.count))
    }

    /// How many upstreams they are of.
    pub fn upstreams(&self) -> usize {
        distinct(self.all().map(|one| &one.upstream))
    }

    /// How many gateways they are of.
    pub fn gateways(&self) -> usize {
        distinct(self.all().map(|one| (&one.gateway.host, &one.gateway.name)))
    }
}

fn gateway(one: &IncidentDoc) -> String {
    format!("{} on {}", one.gateway.name, one.gateway.host)
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<std::collections::BTreeSet<T>>().len()
}

/// The first of several, and how many more there are.
fn and_more(first: String, count: usize) -> String {
    if count > 1 { format!("{first} +{}", count - 1) } else { first }
}

/// The incidents of a target as a report, and what is known of it now.
pub fn why(doc: &IncidentsDoc, style: Style) -> String {
    let mut out = String::new();
    let at = doc.now.as_ref().filter(|_| doc.replay.is_none()).map_or("", |now| now.at.as_str());
    for fold in fold(&doc.incidents) {
        out.push_str(&report(fold.lead, at, style));
        for other in fold.also {
            let _ = writeln!(out, "  also      {}: {} failures, {}", place(other), other.count, clean(&other.state));
        }
        out.push('\n');
    }
    out.push_str(&doc.replay.as_ref().map(replayed).unwrap_or_default());
    let Some(now) = doc.now.as_ref().filter(|_| doc.replay.is_none()) else { return out };
    match doc.incidents.first() {
        None if !now.is_known() => return nobody(&doc.target, &doc.near),
        None => out.push_str(&nothing_wrong(&doc.target, &now.at)),
        Some(_) => {}
    }
    if !now.hosts.is_empty() {
        out.push_str(&fleet::hosts(
            &HostsDoc { at: now.at.clone(), hosts: now.hosts.clone(), ..HostsDoc::default() },
            style,
        ));
    }
    if !now.instances.is_empty() {
        out.push_str(&fleet::instances(
            &InstancesDoc { at: now.at.clone(), instances: now.instances.clone(), kept_since: None },
            style,
        ));
    }
    for one in now.upstreams.iter().filter(|_| doc.incidents.is_empty()) {
        out.push_str(&way(one, &now.at));
    }
    let target = doc.incidents.first().map_or(doc.target.as_str(), |newest| newest.id.as_str());
    let further = format!("more: why502 timeline {0}, why502 logs {0}, why502 environment {0}", clean(target));
    let _ = writeln!(out, "{}", style.paint(Tone::Faint, &further));
    out
}

fn nothing_wrong(target: &str, at: &str) -> String {
    let target = clean(target);
    format!(
        "nothing is known to be wrong with {target}; further back: why502 why {target} --since 24h\nat {} it looks so:\n\n",
        short_time(at, at)
    )
}

/// What one gateway had from an upstream.
fn way(one: &UpstreamDoc, now: &str) -> String {
    let last = one.last_failed.as_deref().map(|at| format!(", last at {}", short_time(at, now))).unwrap_or_default();
    format!(
        "gateway {} on {} -> {}: {} answered, {} failed{last}\n",
        clean(&one.gateway),
        clean(&one.gateway_host),
        clean(&one.upstream),
        one.answered,
        one.failed,
    )
}

/// How the replay of a capsule compares, and why it differs where it does.
fn replayed(doc: &ReplayDoc) -> String {
    let (by, now) = (clean(&doc.recorded_by), clean(&doc.replayed_by));
    let recorded = format!("{} ({}), recorded by why502 {by}", clean(&doc.cause), percent(Some(doc.confidence)));
    if doc.same {
        return format!("the same as {recorded}\n");
    }
    let mut out = format!("differs from {recorded}:\n");
    for line in &doc.differs {
        let _ = writeln!(out, "  - {}", clean(line));
    }
    let _ = match (by == now, doc.differed_when_made.is_empty()) {
        (_, false) => {
            writeln!(out, "its maker's replay differed too: the capsule does not hold all that was known then")
        }
        (false, true) => writeln!(out, "because this is why502 {now}: the version that made it gave the same again"),
        (true, true) => {
            writeln!(out, "though why502 {by} made it and gave the same again: its rules were changed since")
        }
    };
    if !doc.left_out.is_empty() {
        let _ = writeln!(out, "without the records of {}", clean(&doc.left_out.join(", ")));
    }
    if doc.cut {
        let _ = writeln!(out, "without records that came later: there were too many");
    }
    out
}

/// One incident as a report: what, where, since when, how many, why, how sure, evidence, what was not seen, what to do.
/// `at` is the moment of the answer; empty where that tells nothing.
fn report(one: &IncidentDoc, at: &str, style: Style) -> String {
    let state = clean(&one.state).to_uppercase();
    let tone = if one.state == "open" { Tone::Bad } else { Tone::Good };
    let headline = hanging(&format!("{state} "), &clean(&one.sentence), 2, style);
    let mut out = headline.replacen(&state, &style.paint(tone, &state), 1);
    for (name, text) in
        [("gateway", gateway_words(one)), ("when", when(one, at)), ("failures", failures(one)), ("cause", cause(one))]
    {
        out.push_str(&hanging(&format!("  {name:8}  "), &text, 12, style));
    }
    out.push_str(&evidence(one, style));
    out.push_str(&list("not seen", &one.missing, style));
    out.push_str(&list("what to do", &one.advice, style));
    let group = one.group.as_deref().filter(|group| *group != one.id);
    let group = group.map(|group| format!(", group {}", clean(group))).unwrap_or_default();
    let _ = writeln!(out, "  {}", style.paint(Tone::Faint, &format!("incident {}{group}", clean(&one.id))));
    out
}

fn gateway_words(one: &IncidentDoc) -> String {
    let to = if one.upstream.is_none() { ", to an upstream that no record names" } else { "" };
    clean(&format!("{} ({}) on {}{to}", one.gateway.name, one.gateway.kind, one.gateway.host)).into_owned()
}

/// From when to when it failed, and how long ago that ended.
fn when(one: &IncidentDoc, at: &str) -> String {
    let (first, last) = (short_time(&one.first_seen, ""), short_time(&one.last_seen, &one.first_seen));
    let lasted = between(&one.first_seen, &one.last_seen).map(|span| format!(", for {span}")).unwrap_or_default();
    let end = match one.resolved.as_deref() {
        Some(resolved) => format!(", resolved {}", short_time(resolved, &one.first_seen)),
        None => between(&one.last_seen, at).map(|span| format!(", last {span} ago")).unwrap_or_default(),
    };
    format!("{first} to {last}{lasted}{end}")
}

fn cause(one: &IncidentDoc) -> String {
    let is_unknown = one.cause == "unknown";
    let mut out = match is_unknown {
        true => "unknown".to_owned(),
        false => format!("{} ({}), {} sure", clean(&one.cause), clean(&one.family), percent(Some(one.confidence))),
    };
    let others =
        one.alternatives.iter().map(|other| format!("{} {}", clean(&other.cause), percent(Some(other.confidence))));
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        let _ = write!(out, "; {} {}", if is_unknown { "perhaps" } else { "else" }, others.join(", "));
    }
    out
}

/// What was seen, in columns; the words go on below themselves but for the columns of host and source.
fn evidence(one: &IncidentDoc, style: Style) -> String {
    let told = |evidence: &EvidenceDoc| {
        let at = short_time(&evidence.at, &one.first_seen);
        (at, or_dash(&evidence.host), or_dash(&evidence.source), clean(&evidence.says).into_owned())
    };
    let rows: Vec<_> = one.evidence.iter().map(told).collect();
    let widest = |column: fn(&(String, String, String, String)) -> &String| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let (at_wide, host_wide, source_wide) = (widest(|row| &row.0), widest(|row| &row.1), widest(|row| &row.2));
    let mut out = "  evidence\n".to_owned();
    for (at, host, source, says) in &rows {
        let begin = format!("    {at:at_wide$}  {host:host_wide$}  {source:source_wide$}  ");
        out.push_str(&hanging(&begin, says, at_wide + 6, style));
    }
    out
}

fn place(one: &IncidentDoc) -> String {
    let gateway = format!("{} {} on {}", one.gateway.kind, one.gateway.name, one.gateway.host);
    let to = one.upstream.as_deref().unwrap_or("an upstream that no record names");
    let service = one.service.as_deref().map(|service| format!(", service {service}")).unwrap_or_default();
    let host = one.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default();
    clean(&format!("{gateway} -> {to}{service}{host}")).into_owned()
}

/// How many attempts failed, what clients got for them, and how they failed.
fn failures(one: &IncidentDoc) -> String {
    let each = |counts: &BTreeMap<String, u64>| {
        let told = counts.iter().map(|(name, count)| format!("{count} x {}", clean(name)));
        told.collect::<Vec<_>>().join(", ")
    };
    let answers = one.statuses.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let signals = match one.signals.keys().next() {
        Some(only) if one.signals.len() == 1 => clean(only).into_owned(),
        _ => each(&one.signals),
    };
    let parts = [
        (answers != one.count).then(|| format!("{} attempts", one.count)),
        Some(each(&one.statuses)),
        Some(signals),
        (one.retried > 0).then(|| format!("{} served by another upstream", one.retried)),
    ];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn list(name: &str, lines: &[String], style: Style) -> String {
    let mut out = if lines.is_empty() { String::new() } else { format!("  {name}\n") };
    for line in lines {
        out.push_str(&hanging("    - ", &clean(line), 6, style));
    }
    out
}

/// The catalogue.
pub fn causes(doc: &CausesDoc, style: Style) -> String {
    let mut out = String::new();
    for family in &doc.families {
        let _ = writeln!(out, "{}", style.paint(Tone::Good, &clean(family)));
        for cause in doc.causes.iter().filter(|cause| cause.family == *family) {
            let _ = writeln!(out, "  {}", clean(&cause.cause));
            for (name, text) in [("proof ", &cause.proof), ("not if", &cause.refuted_by), ("fix   ", &cause.fix)] {
                let _ = writeln!(out, "    {name}  {}", clean(text));
            }
        }
    }
    out
}
