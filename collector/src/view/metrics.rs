//! The view as Prometheus reads it (text format 0.0.4). Counters of failures must never fall, while incidents are revised
//! and forgotten: a [`Tally`] remembers what of each incident was counted already. It begins with what there is at the
//! start, so that a restart, which folds old incidents again, does not count them again. The label sets are bounded;
//! what is beyond the bound is counted under the label "other".

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use super::alerts::sink_docs;
use super::fleet::{self, host_state};
use super::{SinkDoc, Stats, View};
use crate::model::{Incident, IncidentState};

/// Label sets of failures and incidents that are kept apart.
const SERIES_MAX: usize = 1_000;
/// Versions of agents that are kept apart.
const VERSIONS_MAX: usize = 50;
/// Stands for all labels beyond the bound.
const OTHER: &str = "other";

/// What failures and incidents are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Labels {
    gateway_host: String,
    gateway: String,
    service: String,
    family: &'static str,
    cause: &'static str,
}

/// Counted under one set of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    failures: u64,
    retried: u64,
    resolved: u64,
    open: u64,
}

/// A metric's name, kind and meaning, and where its value is.
type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

/// What of an incident was counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    failures: u64,
    retried: u64,
    resolved: bool,
}

/// The counters since the start.
#[derive(Debug, Default)]
pub struct Tally {
    series: BTreeMap<Labels, Counts>,
    counted: HashMap<String, Counted>,
}

impl Tally {
    /// Begins to count at `view`: what it holds already is not counted.
    pub fn new(view: &View) -> Self {
        let counted = |one: &Incident| {
            let resolved = one.state == IncidentState::Resolved;
            (one.id.clone(), Counted { failures: one.count, retried: one.retried, resolved })
        };
        Self { series: BTreeMap::new(), counted: view.incidents.iter().map(|one| counted(one)).collect() }
    }

    /// Counts what is new in `view` and writes everything as text. `waiting`: records that wait for the engine.
    pub fn scrape(&mut self, view: &View, waiting: usize) -> String {
        self.count(view);
        let mut page = Page::default();
        self.incidents(&mut page);
        fleet(&mut page, view);
        sinks(&mut page, view);
        collector(&mut page, &view.stats, waiting);
        page.0
    }

    fn count(&mut self, view: &View) {
        self.series.values_mut().for_each(|counts| counts.open = 0);
        let mut counted = HashMap::with_capacity(view.incidents.len());
        for incident in &view.incidents {
            let before = self.counted.get(&incident.id).copied().unwrap_or_default();
            let resolved = incident.state == IncidentState::Resolved;
            let now = Counted { failures: incident.count, retried: incident.retried, resolved };
            let is_news = !resolved || !before.resolved || now.failures > before.failures;
            if is_news {
                let counts = self.series(labels(incident));
                counts.failures += now.failures.saturating_sub(before.failures);
                counts.retried += now.retried.saturating_sub(before.retried);
                counts.resolved += u64::from(resolved && !before.resolved);
                counts.open += u64::from(!resolved);
            }
            // An incident that gave failures back when it was split counts none of them again.
            let kept = Counted {
                failures: now.failures.max(before.failures),
                retried: now.retried.max(before.retried),
                ..now
            };
            counted.insert(incident.id.clone(), kept);
        }
        self.counted = counted;
    }

    fn series(&mut self, labels: Labels) -> &mut Counts {
        let known = self.series.len() < SERIES_MAX || self.series.contains_key(&labels);
        let other = || {
            let text = || OTHER.to_owned();
            Labels { gateway_host: text(), gateway: text(), service: text(), family: OTHER, cause: OTHER }
        };
        self.series.entry(if known { labels } else { other() }).or_default()
    }

    fn incidents(&self, page: &mut Page) {
        let metrics: [Metric<Counts>; 4] = [
            ("why502_failures_total", "counter", "Failed attempts, by the cause that was named.", |one| one.failures),
            ("why502_failures_retried_total", "counter", "Of these, served by another upstream.", |one| one.retried),
            ("why502_incidents_open", "gauge", "Incidents that are open, by cause.", |one| one.open),
            (
                "why502_incidents_resolved_total",
                "counter",
                "Incidents that were resolved, by their last cause.",
                |one| one.resolved,
            ),
        ];
        for (name, kind, help, of) in metrics {
            page.head(name, kind, help);
            for (labels, counts) in &self.series {
                let labels = [
                    ("gateway_host", labels.gateway_host.as_str()),
                    ("gateway", &labels.gateway),
                    ("service", &labels.service),
                    ("family", labels.family),
                    ("cause", labels.cause),
                ];
                page.line(name, &labels, of(counts));
            }
        }
    }
}

fn labels(incident: &Incident) -> Labels {
    Labels {
        gateway_host: incident.gateway.host.clone(),
        gateway: incident.gateway.name.clone(),
        service: incident.service.clone().unwrap_or_default(),
        family: incident.verdict.cause.family().id(),
        cause: incident.verdict.cause.id(),
    }
}

fn fleet(page: &mut Page, view: &View) {
    let mut hosts = BTreeMap::from(["up", "silent", "stopped"].map(|state| (state, 0)));
    let (mut instances, mut versions) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    let (mut impaired, mut unparsed) = (0, 0);
    for host in &view.hosts {
        *hosts.entry(host_state(host)).or_default() += 1;
        fleet::instances(host).for_each(|one| *instances.entry(one.state()).or_default() += 1);
        let version = host.agent_version.as_str();
        let known = versions.len() < VERSIONS_MAX || versions.contains_key(version);
        *versions.entry(if known { version } else { OTHER }).or_default() += 1;
        impaired += u64::from(host.impaired().next().is_some());
        unparsed += host.gateways.values().map(|gateway| gateway.unparsed).sum::<u64>();
    }
    page.by("why502_hosts", "Hosts by state.", "state", hosts);
    page.by("why502_instances", "Instances by state.", "state", instances);
    page.by("why502_agents", "Hosts by their agent's version.", "version", versions);
    page.one("why502_hosts_impaired", "gauge", "Hosts whose agent does not see all it should.", impaired);
    page.one("why502_gateway_lines_unparsed", "gauge", "Lines of gateways' logs that were not understood.", unparsed);
}

/// Those of the configuration: one that was taken out of it has no line any more.
fn sinks(page: &mut Page, view: &View) {
    let docs: Vec<SinkDoc> = sink_docs(view).into_iter().filter(|sink| sink.configured).collect();
    let metrics: [Metric<SinkDoc>; 6] = [
        ("why502_sink_delivered_total", "counter", "Messages that a sink confirmed.", |sink| sink.delivered),
        ("why502_sink_failed_total", "counter", "Attempts to tell a sink that failed.", |sink| sink.failed),
        ("why502_sink_retried_total", "counter", "Attempts to tell a sink again what had failed.", |sink| sink.retried),
        ("why502_sink_given_up_total", "counter", "Messages that a sink was never told.", |sink| sink.given_up),
        ("why502_sink_waiting", "gauge", "Messages that wait to be tried again.", |sink| sink.retrying),
        ("why502_sink_open", "gauge", "Incidents and groups that a sink takes for open.", |sink| sink.open),
    ];
    for (name, kind, help, of) in metrics {
        page.head(name, kind, help);
        docs.iter().for_each(|sink| page.line(name, &[("sink", &sink.name), ("kind", &sink.kind)], of(sink)));
    }
}

fn collector(page: &mut Page, stats: &Stats, waiting: usize) {
    page.head("why502_build_info", "gauge", "The collector's version.");
    page.line("why502_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let start = u64::try_from(stats.started_us / 1_000_000).unwrap_or(0);
    page.one("why502_start_time_seconds", "gauge", "When the collector started, unix time.", start);
    page.one("why502_engine_waiting", "gauge", "Records that wait for the engine.", waiting as u64);
    page.one("why502_reports_total", "counter", "Reports taken since the start.", stats.reports);
    let help = "Reports that had been taken before.";
    page.one("why502_reports_duplicate_total", "counter", help, stats.duplicates);
    let help = "Reports refused because ones before them were missing.";
    page.one("why502_reports_gap_total", "counter", help, stats.gaps);
    page.one("why502_journal_records_total", "counter", "Records appended to the journal.", stats.journal_records);
    page.one("why502_journal_bytes", "gauge", "Bytes of the journal.", stats.journal_bytes);
    let help = "Stretches of the journal that could not be read at the start.";
    page.one("why502_journal_faults", "gauge", help, stats.journal_faults);
    let help = "1 while nothing is acknowledged for lack of space.";
    page.one("why502_disk_full", "gauge", help, u64::from(stats.disk_full));
    let cut = [("texts", stats.texts_cut), ("entries", stats.entries_cut), ("times", stats.times_cut)];
    page.head("why502_cut_total", "counter", "What came in beyond its bound.");
    cut.iter().for_each(|(what, count)| page.line("why502_cut_total", &[("what", what)], *count));
    let help = "Records and events of unknown kind.";
    page.one("why502_unknown_records_total", "counter", help, stats.unknown_records);
}

/// The text under way.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn by<'a>(&mut self, name: &str, help: &str, label: &str, values: impl IntoIterator<Item = (&'a str, u64)>) {
        self.head(name, "gauge", help);
        values.into_iter().for_each(|(value, count)| self.line(name, &[(label, value)], count));
    }
}

/// A label's value as the format writes it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::book::Book;
    use crate::model::{Alert, AlertOutcome, AlertStep, Cause, GatewayRef, Verdict};
    use crate::view::SinkInfo;

    fn incident(id: &str, cause: Cause, count: u64, state: IncidentState) -> Arc<Incident> {
        let (alternatives, evidence, missing, advice) = Default::default();
        Arc::new(Incident {
            id: id.to_owned(),
            state,
            gateway: GatewayRef { host: "lb-1".to_owned(), name: "ed\"ge\n".to_owned(), kind: "nginx".to_owned() },
            upstream: Some("10.0.0.2:3000".to_owned()),
            service: Some("api".to_owned()),
            host: None,
            first_seen_us: 0,
            last_seen_us: 0,
            resolved_us: None,
            count,
            retried: 0,
            statuses: BTreeMap::new(),
            signals: BTreeMap::new(),
            verdict: Verdict { cause, confidence: 0.9, alternatives, evidence, missing, advice },
            group: None,
            verdict_at_us: 0,
            changed_us: 0,
        })
    }

    fn view(incidents: &[Arc<Incident>]) -> View {
        View { incidents: incidents.to_vec(), ..View::default() }
    }

    /// The value of the line of `metric` that holds `label`.
    fn value(page: &str, metric: &str, label: &str) -> Option<u64> {
        let line = page.lines().find(|line| line.starts_with(&format!("{metric}{{")) && line.contains(label))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[test]
    fn each_failure_is_counted_once_under_the_cause_named_then() {
        use IncidentState::{Open, Resolved};
        let mut tally = Tally::new(&view(&[incident("old", Cause::OomKilled, 100, Resolved)]));
        let old = incident("old", Cause::OomKilled, 100, Resolved);
        tally.scrape(&view(&[old.clone(), incident("new", Cause::Unknown, 3, Open)]), 0);
        let page = tally.scrape(&view(&[old.clone(), incident("new", Cause::OomKilled, 10, Open)]), 0);
        assert_eq!(value(&page, "why502_failures_total", "unknown"), Some(3));
        assert_eq!(value(&page, "why502_failures_total", "oom_killed"), Some(7));
        assert_eq!(value(&page, "why502_incidents_open", "oom_killed"), Some(1));
        assert_eq!(value(&page, "why502_incidents_open", "unknown"), Some(0));
        // Fewer after a split, forgotten after a while: nothing falls.
        let page = tally.scrape(&view(&[incident("new", Cause::OomKilled, 8, Resolved)]), 0);
        assert_eq!(value(&page, "why502_failures_total", "oom_killed"), Some(7));
        assert_eq!(value(&page, "why502_incidents_resolved_total", "oom_killed"), Some(1));
        let page = tally.scrape(&view(&[]), 0);
        assert_eq!(value(&page, "why502_failures_total", "oom_killed"), Some(7));
        assert_eq!(value(&page, "why502_incidents_resolved_total", "oom_killed"), Some(1));
    }

    #[test]
    fn label_sets_are_bounded_and_nothing_is_lost_by_that() {
        let named = |number: usize| {
            let mut one = (*incident(&number.to_string(), Cause::Unknown, 1, IncidentState::Open)).clone();
            one.service = Some(format!("service-{number}"));
            Arc::new(one)
        };
        let incidents: Vec<_> = (0..SERIES_MAX + 500).map(named).collect();
        let page = Tally::default().scrape(&view(&incidents), 0);
        let lines = page.lines().filter(|line| line.starts_with("why502_failures_total{"));
        assert_eq!(lines.count(), SERIES_MAX + 1);
        assert_eq!(value(&page, "why502_failures_total", "cause=\"other\""), Some(500));
    }

    #[test]
    fn each_sink_of_the_configuration_has_its_lines_and_no_other() {
        let mut book = Book::default();
        let mut tell = |sink: &str, key: &str, outcome| {
            let (sink, key, why) = (sink.to_owned(), key.to_owned(), String::new());
            book.alert(&Alert { sink, key, step: AlertStep::Opened, outcome, why, labels: BTreeMap::new() }, 1);
        };
        tell("gone", "1", AlertOutcome::Delivered);
        tell("chat", "1", AlertOutcome::Failed);
        tell("chat", "1", AlertOutcome::Delivered);
        tell("chat", "2", AlertOutcome::Failed);
        tell("chat", "3", AlertOutcome::GivenUp);
        let named = |name: &str| SinkInfo { name: name.to_owned(), kind: "webhook".to_owned(), to: Vec::new() };
        let stats = Stats { sinks: Arc::new([named("chat"), named("new")]), ..Stats::default() };
        let page = Tally::default().scrape(&View { book: Arc::new(book), stats, ..View::default() }, 0);
        let of = |metric: &str, sink: &str| value(&page, &format!("why502_sink_{metric}"), &format!("sink=\"{sink}\""));
        let chat = ["delivered_total", "failed_total", "retried_total", "given_up_total", "waiting", "open"];
        assert_eq!(chat.map(|metric| of(metric, "chat")), [1, 2, 1, 1, 1, 1].map(Some));
        assert_eq!((of("delivered_total", "new"), of("delivered_total", "gone")), (Some(0), None));
    }

    #[test]
    fn text_from_outside_stays_inside_its_quotes() {
        let page = Tally::default().scrape(&view(&[incident("a", Cause::Unknown, 1, IncidentState::Open)]), 0);
        assert!(page.contains("gateway=\"ed\\\"ge\\n\","), "{page}");
    }
}
