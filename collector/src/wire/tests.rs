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
    assert!(converter.convert(Incoming(v1::JournalRecord::default())).is_none());
    let message = v1::Report { seq: 1, events: vec![v1::Event::default()], ..Default::default() };
    assert!(report_of(&mut converter, message).events.is_empty());
    assert_eq!(converter.cuts().unknown, 2);
}
