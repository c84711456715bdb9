use super::*;
use crate::model::EventKind;

const NOW_US: i64 = 1_800_000_000_000_000;
const DAY_US: i64 = 86_400_000_000;

fn numbering() -> Numbering {
    Numbering { host: "app-1".to_owned(), boot_id: "b".to_owned(), epoch: 7 }
}

fn converted(converter: &mut Converter, mut incoming: Incoming) -> RecordKind {
    incoming.stamp(NOW_US);
    let mut bytes = Vec::new();
    incoming.encode(&mut bytes);
    assert_eq!(bytes.len(), incoming.encoded_len());
    converter.convert(Incoming::decode(&bytes).unwrap()).unwrap().kind
}

fn report_of(converter: &mut Converter, message: v1::Report) -> model::Report {
    match converted(converter, report(&numbering(), message).unwrap()) {
        RecordKind::Report(report) => *report,
        other => panic!("{other:?}"),
    }
}

fn log_match(at_us: i64, line: &str) -> v1::Event {
    let matched = v1::LogMatch { line: line.to_owned(), ..Default::default() };
    v1::Event { at_unix_us: at_us, kind: Some(v1::event::Kind::LogMatch(matched)) }
}

#[test]
fn times_are_put_on_the_collectors_line() {
    let mut converter = Converter::default();
    let greeting = v1::Hello { host: "app-1".to_owned(), at_unix_us: NOW_US + 5_000_000, ..Default::default() };
    converted(&mut converter, hello(greeting).unwrap());
    let mut message = v1::Report { seq: 1, at_unix_us: NOW_US, ..Default::default() };
    assert_eq!(report_of(&mut converter, message.clone()).at_us, NOW_US - 5_000_000, "by the hello");
    message.collector_offset_us = Some(2_000_000);
    let report = report_of(&mut converter, message);
    assert_eq!((report.at_us, report.clock_ahead_us), (NOW_US + 2_000_000, -2_000_000), "by its own offset");
}

#[test]
fn absurd_times_become_the_time_of_receipt_but_a_start_may_be_long_ago() {
    let mut converter = Converter::default();
    let process = v1::ProcessSample { started_unix_us: NOW_US - 90 * DAY_US, ..Default::default() };
    let instance = v1::InstanceSample { at_unix_us: i64::MIN, processes: vec![process], ..Default::default() };
    let events = vec![log_match(NOW_US + 2 * DAY_US, ""), log_match(NOW_US - DAY_US, "")];
    let message = v1::Report { seq: 1, at_unix_us: i64::MAX, instances: vec![instance], events, ..Default::default() };
    let report = report_of(&mut converter, message);
    assert_eq!(report.at_us, NOW_US);
    assert_eq!(report.instances[0].at_us, NOW_US);
    assert_eq!(report.instances[0].processes[0].started_us, NOW_US - 90 * DAY_US);
    assert_eq!((report.events[0].at_us, report.events[1].at_us), (NOW_US, NOW_US - DAY_US));
    assert_eq!(converter.cuts().times, 3);
}

#[test]
fn texts_lists_and_ratios_are_bounded_and_counted() {
    let mut converter = Converter::default();
    let mut message = v1::Report { seq: 1, at_unix_us: NOW_US, ..Default::default() };
    message.events = (0..5000).map(|_| log_match(NOW_US, "")).collect();
    message.events[0] = log_match(NOW_US, &"ä".repeat(3000));
    message.host = Some(v1::HostSample {
        cpu_busy_ratio: Some(f64::NAN),
        load1: Some(-1.0),
        cpu_steal_ratio: Some(f64::INFINITY),
        ..Default::default()
    });
    let report = report_of(&mut converter, message);
    assert_eq!(report.events.len(), bounds::EVENTS_MAX);
    let EventKind::LogMatch(matched) = &report.events[0].kind else { panic!() };
    assert_eq!(matched.line.len(), bounds::LINE_MAX);
    let host = report.host_sample.unwrap();
    assert_eq!((host.cpu_busy_ratio, host.load1, host.cpu_steal_ratio), (None, None, None));
    assert_eq!((converter.cuts().texts, converter.cuts().entries), (1, 5000 - bounds::EVENTS_MAX as u64));
}

#[test]
fn what_says_nothing_usable_is_refused() {
    let named = |host: &str| hello(v1::Hello { host: host.to_owned(), ..Default::default() });
    assert!(named("").is_err() && named(&"a".repeat(254)).is_err() && named("a\x1b[31m").is_err());
    assert!(named(&"a".repeat(253)).is_ok());
    assert!(report(&numbering(), v1::Report::default()).is_err());
    assert!(mark("reboot".into(), "api".into(), String::new(), String::new()).is_err());
    assert!(mark("deploy".into(), String::new(), String::new(), String::new()).is_err());
}

#[test]
fn unknown_records_and_events_are_counted_and_passed_over() {
    let mut converter = Converter::default();
    assert!(converter.convert(v1::JournalRecord::default().into()).is_none());
    let message = v1::Report { seq: 1, events: vec![v1::Event::default()], ..Default::default() };
    assert!(report_of(&mut converter, message).events.is_empty());
    assert_eq!(converter.cuts().unknown, 2);
}

#[test]
fn a_host_is_given_again_by_the_records_that_its_state_is_told_in() {
    let member = v1::PoolMember { address: "10.0.0.2:3000".to_owned(), max_fails: Some(2), ..Default::default() };
    let pool = v1::Pool {
        name: "api".to_owned(),
        members: vec![member],
        check: Some(v1::HealthCheck { kind: "http".to_owned(), path: "/health".to_owned(), ..Default::default() }),
        timeouts: Some(v1::Timeouts { connect_us: Some(5), ..Default::default() }),
        tls: Some(v1::TlsSettings { server_name: "api".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let gateway = v1::GatewayConfig {
        gateway: "edge".to_owned(),
        kind: "nginx".to_owned(),
        pools: vec![pool],
        at_unix_us: NOW_US - DAY_US,
        ..Default::default()
    };
    let interface = v1::InterfaceSample { addresses: vec!["10.0.0.2".to_owned()], ..Default::default() };
    let listener = v1::ListenerSample { address: "0.0.0.0:3000".to_owned(), queue_limit: 128, ..Default::default() };
    let message = v1::Report {
        seq: 1,
        at_unix_us: NOW_US + 7_000_000,
        collector_offset_us: Some(-7_000_000),
        host: Some(v1::HostSample { at_unix_us: NOW_US, interfaces: vec![interface], ..Default::default() }),
        instances: vec![v1::InstanceSample {
            service: "api".to_owned(),
            at_unix_us: NOW_US,
            process_count: 2,
            listeners: vec![listener],
            listeners_known: true,
            ..Default::default()
        }],
        gateways: vec![gateway],
        ..Default::default()
    };
    let service = v1::ServiceConfig { name: "api".to_owned(), listen: vec!["3000".to_owned()], ..Default::default() };
    let greeting = v1::Hello {
        host: "app-1".to_owned(),
        boot_id: "b".to_owned(),
        epoch: NOW_US as u64 - 5,
        at_unix_us: NOW_US,
        services: vec![service],
        ..Default::default()
    };
    let state = |records: Vec<Incoming>| {
        let (mut fleet, mut converter) = (crate::fleet::Fleet::default(), Converter::default());
        for record in records {
            fleet.apply(&converter.convert(record).unwrap());
        }
        fleet.host("app-1").unwrap().state.clone()
    };
    let stamped = |mut record: Incoming| {
        record.stamp(NOW_US);
        record
    };
    let first = vec![stamped(hello(greeting).unwrap()), stamped(report(&numbering(), message).unwrap())];
    let told = state(first.into_iter().chain([stamped(stream_ended("app-1", "idle"))]).collect());
    assert!(told.gateways["edge"].config.is_some() && !told.connected);
    assert_eq!(state(base(&told, 7)), told);
}
