use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::book::Book;
use crate::model::*;

/// The same numbers at every run, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Up to 24 characters, half of them such as a terminal obeys.
    fn text(&mut self) -> String {
        const WICKED: &[char] = &[
            '\x1b',
            '\x07',
            '\0',
            '\r',
            '\n',
            '\t',
            '\u{7f}',
            '\u{9b}',
            '\u{85}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{feff}',
            '\u{2028}',
            '\u{ad}',
            '\u{e0041}',
        ];
        let count = self.next() % 24;
        let one = |dice: &mut Self| match dice.next() % 4 {
            0 | 1 => WICKED[(dice.next() % WICKED.len() as u64) as usize],
            2 => char::from(dice.next() as u8),
            _ => char::from_u32(dice.next() as u32 % 0x11_0000).unwrap_or('x'),
        };
        (0..count).map(|_| one(self)).collect()
    }

    fn some(&mut self) -> Option<String> {
        Some(self.text())
    }
}

fn incident(dice: &mut Dice) -> Incident {
    let evidence = Evidence { at_us: 5, host: dice.text(), source: "process", says: dice.text() };
    Incident {
        id: dice.text(),
        state: IncidentState::Open,
        gateway: GatewayRef { host: dice.text(), name: dice.text(), kind: dice.text() },
        upstream: dice.some(),
        service: dice.some(),
        host: dice.some(),
        first_seen_us: 1_700_000_000_000_000,
        last_seen_us: 1_700_000_001_000_000,
        resolved_us: None,
        count: 3,
        retried: 1,
        statuses: BTreeMap::from([(502, 3)]),
        signals: BTreeMap::from([(Signal::ConnectRefused, 3)]),
        verdict: Verdict {
            cause: Cause::OomKilled,
            confidence: 0.97,
            alternatives: vec![(Cause::ProcessKilled, 0.02)],
            evidence: vec![evidence],
            missing: vec![dice.text()],
            advice: vec![dice.text()],
        },
        group: dice.some(),
        verdict_at_us: 1,
        changed_us: 1_700_000_001_000_000,
    }
}

fn instance(dice: &mut Dice) -> InstanceState {
    let sample = InstanceSample {
        process_count: 1,
        listeners: vec![ListenerSample { address: dice.text(), ..Default::default() }],
        unit: dice.text(),
        ..Default::default()
    };
    let health = HealthResult { signal: dice.text(), error: dice.text(), body: dice.text(), ..Default::default() };
    let last_exit = Some((5, dice.text()));
    InstanceState {
        sample: Some(Arc::new(sample)),
        health: Some((5, health)),
        last_start_us: Some(5),
        last_exit,
        role: Some((true, 5)),
        ..Default::default()
    }
}

fn gateway(dice: &mut Dice) -> GatewayState {
    let member = PoolMember { address: dice.text(), ..Default::default() };
    let config = GatewayConfig {
        kind: dice.text(),
        pools: vec![Pool { members: vec![member], ..Default::default() }],
        faults: vec![dice.text()],
        missing_log: dice.text(),
        ..Default::default()
    };
    let totals = UpstreamTotals { failed: 2, last_failed_us: 5, ..Default::default() };
    let upstreams = BTreeMap::from([(dice.text(), totals)]);
    let source = LogSource {
        source: dice.text(),
        unparsed: 1,
        unparsed_sample: dice.text(),
        lost_lines: 1,
        fault: dice.text(),
        ..Default::default()
    };
    let sources = BTreeMap::from([(source.source.clone(), Arc::new(source))]);
    GatewayState {
        config: Some(Arc::new(config)),
        config_before: None,
        sources,
        upstreams,
        unparsed: 1,
        unparsed_sample: dice.text(),
    }
}

fn view(dice: &mut Dice) -> View {
    let sampler = SamplerStatus { name: dice.text(), state: SamplerState::Failed, why: dice.text() };
    let service = ServiceConfig { name: dice.text(), listen: vec![dice.text()], ..Default::default() };
    let host = HostState {
        name: dice.text(),
        boot_id: dice.text(),
        agent_version: dice.text(),
        connected: true,
        samplers: BTreeMap::from([(dice.text(), sampler)]),
        services: BTreeMap::from([(service.name.clone(), service)]),
        instances: BTreeMap::from([(dice.text(), instance(dice))]),
        gateways: BTreeMap::from([(dice.text(), gateway(dice))]),
        ..Default::default()
    };
    let incidents = vec![Arc::new(incident(dice)), Arc::new(incident(dice))];
    let book = Arc::new(book(dice));
    View { at_us: 1_700_000_002_000_000, hosts: vec![Arc::new(host)], incidents, book, ..View::default() }
}

fn book(dice: &mut Dice) -> Book {
    let mut book = Book::default();
    let (step, outcome) = (AlertStep::Opened, AlertOutcome::Failed);
    let alert =
        Alert { sink: dice.text(), key: dice.text(), step, outcome, why: dice.text(), labels: BTreeMap::default() };
    book.alert(&alert, 1_700_000_002_000_000);
    let silence = Silence {
        id: dice.text(),
        until_us: 1_700_000_003_000_000,
        family: dice.some(),
        cause: dice.some(),
        service: dice.some(),
        host: dice.some(),
        upstream: dice.some(),
        gateway: dice.some(),
        comment: dice.text(),
    };
    book.silence(&silence, 1_700_000_002_000_000);
    book
}

fn is_fit_for_a_terminal(text: &str) -> bool {
    let invisible = |c: char| {
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            | '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}')
    };
    !text.chars().any(|c| (c.is_control() && c != '\n') || invisible(c))
}

/// Every document of a view with what it is called and as JSON.
fn answers(view: &View) -> Vec<(&'static str, String)> {
    let host = view.hosts[0].name.clone();
    let why = |target: String| Question::Why { target, at: None, since_us: i64::MAX };
    let questions = [
        ("status", Question::Status),
        ("hosts", Question::Hosts(None)),
        ("instances", Question::Instances(None)),
        ("gateways", Question::Gateways(None)),
        ("incidents", Question::Incidents(IncidentFilter::default())),
        ("why", why(view.incidents[0].id.clone())),
        ("why", why(host)),
        ("causes", Question::Causes),
        ("alerts", Question::Alerts),
        ("silences", Question::Silences),
        ("advise", Question::Advise { target: None }),
    ];
    questions.map(|(name, question)| (name, answer(view, &question).unwrap().json)).to_vec()
}

#[test]
fn nothing_from_outside_reaches_a_terminal_raw() {
    let mut dice = Dice(502);
    for round in 0..200 {
        let view = view(&mut dice);
        for (name, json) in answers(&view) {
            let text = document(name, &json, Style::default()).unwrap();
            assert!(is_fit_for_a_terminal(&text), "round {round}, {name}: {text:?}");
            assert!(is_fit_for_a_terminal(&clean_json(&json)), "round {round}, {name} as JSON");
        }
        for change in changes(&View::default(), &view) {
            let text = Watch::default().line(&serde_json::to_string(&change).unwrap(), Style::default()).unwrap();
            assert!(is_fit_for_a_terminal(&text) && text.lines().count() == 1, "round {round}, watch: {text:?}");
        }
    }
}

fn named(upstream: &str, group: Option<&str>) -> IncidentDoc {
    let mut one = incident(&mut Dice(1));
    let text = |text: &str| text.to_owned();
    one.id = format!("01J-{upstream}");
    one.gateway = GatewayRef { host: text("lb-1"), name: text("edge"), kind: text("nginx") };
    (one.upstream, one.service, one.host) = (Some(text(upstream)), Some(text("api")), Some(text("app-1")));
    one.group = group.map(text);
    one.verdict.evidence[0] = Evidence {
        at_us: 1_699_999_999_500_000,
        host: text("app-1"),
        source: "kernel_log",
        says: text("oom-kill: 4242"),
    };
    one.verdict.missing = vec![text("no agent on lb-1")];
    one.verdict.advice = vec![text("raise memory.max of api above 512 MiB")];
    incident_doc(&one)
}

#[test]
fn why_reads_as_a_report() {
    let doc = IncidentsDoc { incidents: vec![named("10.0.0.2:3000", None)], ..Default::default() };
    let text = document("why", &serde_json::to_string(&doc).unwrap(), Style::default()).unwrap();
    let expected = "\
OPEN api on app-1 (10.0.0.2:3000) was killed by the kernel because its memory ran out
  gateway   edge (nginx) on lb-1
  when      2023-11-14 22:13:20Z to 22:13:21Z, for 1 s
  failures  3 x 502; connect_refused; 1 served by another upstream
  cause     oom_killed (instance_down), 97% sure; else process_killed 2%
  evidence
    22:13:19Z  app-1  kernel_log  oom-kill: 4242
  not seen
    - no agent on lb-1
  what to do
    - raise memory.max of api above 512 MiB
  incident 01J-10.0.0.2:3000

";
    assert_eq!(text, expected);
}

#[test]
fn incidents_of_one_group_are_one_line_and_columns_align() {
    let incidents = [named("10.0.0.2:3000", Some("g")), named("10.0.0.12:3000", Some("g")), named("10.0.0.3:1", None)];
    let text = incident::incidents(&incidents, Style::default());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].contains("10.0.0.2:3000 +1") && lines[1].contains(" 6 "), "{text}");
    assert_eq!(lines[1].find("oom_killed"), lines[2].find("oom_killed"), "{text}");
    assert_eq!(lines[0].find("CAUSE"), lines[1].find("oom_killed"), "{text}");
}

#[test]
fn one_upstream_that_fails_at_several_gateways_is_one_line_with_their_number() {
    let mut reporters: Vec<IncidentDoc> = (0..10).map(|_| named("10.0.0.2:3000", Some("g"))).collect();
    for (at, one) in reporters.iter_mut().enumerate() {
        one.gateway.host = format!("lb-{at}");
    }
    let text = incident::incidents(&reporters, Style::default());
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("edge on lb-0 +9") && !text.contains("10.0.0.2:3000 +"), "{text}");
}

#[test]
fn colour_is_added_after_the_layout_and_only_where_asked() {
    let incidents = [named("10.0.0.2:3000", None)];
    let plain = incident::incidents(&incidents, Style::default());
    let coloured = incident::incidents(&incidents, Style { colour: true, width: None });
    assert!(!plain.contains('\x1b') && coloured.contains("\x1b[31m"));
    let bare = ["\x1b[31m", "\x1b[2m", "\x1b[0m"].iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(bare, plain);
}

fn happening(at: &str, kind: &str, host: &str, subject: &str, says: &str) -> HappeningDoc {
    let [at, kind, host, subject, says] = [at, kind, host, subject, says].map(str::to_owned);
    HappeningDoc { at, kind, host, subject, says, count: 1 }
}

fn reading(name: &str, unit: &str, joined: &str, values: &[Option<f64>]) -> ReadingDoc {
    let [name, unit, joined] = [name, unit, joined].map(str::to_owned);
    ReadingDoc { name, unit, joined, values: values.to_vec() }
}

fn timeline_doc() -> TimelineDoc {
    let text = |text: &str| text.to_owned();
    let states = ["", "running", "running", "not_running", "not_running", "running"].map(text).to_vec();
    let cpu = reading("cpu", "cpus", "most", &[None, Some(0.1), Some(0.8), None, None, Some(0.4)]);
    let failures = reading("failures", "attempts", "sum", &[None, None, Some(0.0), Some(8.0), Some(4.0), None]);
    let instance = TrackDoc {
        kind: text("instance"),
        name: text("api"),
        host: text("app-1"),
        states,
        readings: vec![cpu],
        ..TrackDoc::default()
    };
    let upstream = TrackDoc {
        kind: text("upstream"),
        name: text("10.0.0.2:3000"),
        host: text("lb-1"),
        gateway: text("edge"),
        readings: vec![failures],
        ..TrackDoc::default()
    };
    let happenings = vec![
        happening("2026-11-22T14:32:31.000Z", "exit", "app-1", "api", "node (pid 42) ended: signal 9"),
        happening("2026-11-22T14:32:31.500Z", "log", "app-1", "api", "error: a line"),
        happening("2026-11-22T14:32:32.000Z", "incident", "app-1", "10.0.0.2:3000", "opened: api was killed"),
        happening("2026-11-22T14:32:50.000Z", "start", "app-1", "api", "node (pid 43) started"),
    ];
    TimelineDoc {
        target: text("api"),
        from: text("2026-11-22T14:32:00.000Z"),
        to: text("2026-11-22T14:33:00.000Z"),
        step_ms: 10_000,
        tracks: vec![instance, upstream],
        happenings,
        ..TimelineDoc::default()
    }
}

#[test]
fn a_timeline_puts_what_happened_above_what_it_happened_to() {
    let text = document("timeline", &serde_json::to_string(&timeline_doc()).unwrap(), Style::default()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "api  2026-11-22 14:32:00Z to 14:33:00Z, a column is 10 s", "{text}");
    let row = |at: usize| lines[at].chars().skip(12).take(6).collect::<String>();
    assert_eq!(lines[2], "api on app-1");
    assert_eq!([row(3), row(4), row(5)], ["   x ^".to_owned(), " ==xx=".to_owned(), " ▁█  ▄".to_owned()], "{text}");
    assert!(lines[4].ends_with("  running") && lines[5].ends_with("  most 0.80 CPUs"), "{text}");
    assert_eq!([row(8), row(9)], ["   !".to_owned(), "  .█▄ ".to_owned()], "{text}");
    assert!(lines[9].ends_with("12 in all"), "{text}");
    assert!(text.ends_with("14:32:50Z  start     app-1/api: node (pid 43) started\n"), "{text}");
}

#[test]
fn a_timeline_is_as_wide_as_its_terminal() {
    let mut doc = timeline_doc();
    doc.step_ms = 250;
    for track in &mut doc.tracks {
        track.states = (0..240).map(|at| if at == 100 { "unhealthy" } else { "running" }.to_owned()).collect();
        for reading in &mut track.readings {
            reading.values = (0..240).map(|at| Some(f64::from(at))).collect();
        }
    }
    let json = serde_json::to_string(&doc).unwrap();
    for width in [40, 80, 132, 500] {
        let text = document("timeline", &json, Style { colour: false, width: Some(width) }).unwrap();
        let charts = text.lines().filter(|line| line.starts_with("  ") && !line.trim().is_empty());
        let most = charts.map(|line| line.chars().count()).max().unwrap();
        assert!(most <= width.max(56), "{width}: {most}\n{text}");
        assert!(text.contains('~'), "the one bad column of 240 is seen\n{text}");
    }
    let coloured = document("timeline", &json, Style { colour: true, width: None }).unwrap();
    let bare =
        ["31", "32", "33", "2", "0"].iter().fold(coloured, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
    assert_eq!(bare, document("timeline", &json, Style::default()).unwrap());
}

#[test]
fn nothing_of_a_timeline_reaches_a_terminal_raw() {
    let mut dice = Dice(7);
    for round in 0..200 {
        let mut doc = timeline_doc();
        doc.target = dice.text();
        doc.from = if round % 2 == 0 { doc.from } else { dice.text() };
        doc.unreadable = vec![dice.text()];
        for track in &mut doc.tracks {
            (track.name, track.host, track.gateway, track.kind) = (dice.text(), dice.text(), dice.text(), dice.text());
            track.states.push(dice.text());
            track.readings.push(reading(&dice.text(), &dice.text(), &dice.text(), &[Some(f64::NAN), Some(-1.0)]));
        }
        doc.happenings.push(happening(&dice.text(), &dice.text(), &dice.text(), &dice.text(), &dice.text()));
        let text = document("timeline", &serde_json::to_string(&doc).unwrap(), Style::default()).unwrap();
        assert!(is_fit_for_a_terminal(&text), "round {round}: {text:?}");
    }
}

#[test]
fn what_the_doors_tell_stands_below_the_hosts() {
    let says = "two machines report under this name".to_owned();
    let notice = NoticeDoc { at: "2026-11-22T14:32:01.000Z".into(), host: "app-1".into(), says, count: 3 };
    let nobody = HostsDoc { at: "2026-11-22T14:33:00.000Z".into(), notices: vec![notice], ..HostsDoc::default() };
    let somebody = HostsDoc { hosts: vec![HostDoc { host: "app-1".into(), ..HostDoc::default() }], ..nobody.clone() };
    for doc in [nobody, somebody] {
        let shown = fleet::hosts(&doc, Style::default());
        assert!(shown.ends_with("14:32:01Z host app-1: two machines report under this name, 3 times\n"), "{shown}");
    }
}
