//! Events.

use why502_proto::v1;
use why502_proto::v1::event::Kind;

use super::bounds::{EVENTS_MAX, LIST_MAX, Line};
use super::probe;
use crate::model::{self, EventKind, Signal};

/// The events of a report, in their order; kinds that are not known are counted and passed over.
pub fn events(line: &mut Line<'_>, events: Vec<v1::Event>) -> Vec<model::Event> {
    line.list(events, EVENTS_MAX, event).into_iter().flatten().collect()
}

fn event(line: &mut Line<'_>, event: v1::Event) -> Option<model::Event> {
    let Some(kind) = event.kind else {
        line.unknown();
        return None;
    };
    let at_us = line.at(event.at_unix_us);
    let kind = match kind {
        Kind::ProcessStarted(start) => EventKind::ProcessStarted(started(line, start)),
        Kind::ProcessExited(exit) => EventKind::ProcessExited(exited(line, exit)),
        Kind::OomKill(kill) => EventKind::OomKill(oom_kill(line, kill)),
        Kind::ListenChanged(change) => EventKind::ListenChanged(model::ListenChanged {
            service: line.name(change.service),
            address: line.name(change.address),
            listening: change.listening,
        }),
        Kind::Health(health) => EventKind::Health(health_result(line, health)),
        Kind::LogMatch(matched) => EventKind::LogMatch(model::LogMatch {
            service: line.name(matched.service),
            file: line.line(matched.file),
            kind: line.name(matched.kind),
            line: line.line(matched.line),
            repeats: matched.repeats,
        }),
        Kind::Failure(one) => EventKind::Failure(failure(line, one)),
        Kind::Notice(one) => EventKind::Notice(notice(line, one)),
        Kind::Probe(one) => EventKind::Probe(Box::new(probe::result(line, one))),
        Kind::LinkChanged(change) => EventKind::LinkChanged(model::LinkChanged {
            interface: line.name(change.interface),
            up: change.up,
            what: line.name(change.what),
        }),
        Kind::ClockStepped(step) => EventKind::ClockStepped(model::ClockStepped { by_us: line.step(step.by_us) }),
        Kind::KernelNote(note) => EventKind::KernelNote(model::KernelNote {
            kind: line.name(note.kind),
            line: line.line(note.line),
            pid: note.pid,
            service: line.name(note.service),
        }),
        Kind::RoleChanged(change) => EventKind::RoleChanged(model::RoleChanged {
            service: line.name(change.service),
            leader: change.leader,
            says: line.line(change.says),
        }),
        Kind::UnitChanged(change) => EventKind::UnitChanged(model::UnitChanged {
            service: line.name(change.service),
            unit: line.name(change.unit),
            what: line.name(change.what),
            exit_code: line.name(change.exit_code),
            exit_status: change.exit_status,
            result: line.name(change.result),
            restarts: change.restarts,
        }),
        Kind::AgentStopping(stop) => EventKind::AgentStopping(model::AgentStopping { why: line.name(stop.why) }),
    };
    Some(model::Event { at_us, kind })
}

fn started(line: &mut Line<'_>, start: v1::ProcessStarted) -> model::ProcessStarted {
    model::ProcessStarted {
        service: line.name(start.service),
        pid: start.pid,
        parent_pid: start.parent_pid,
        started_us: line.since(start.started_unix_us),
        name: line.name(start.name),
        exe: line.line(start.exe),
        fingerprint: line.name(start.fingerprint),
        cmdline: line.line(start.cmdline),
        leader: start.leader,
        already_running: start.already_running,
        version_hint: line.line(start.version_hint),
        settled: start.settled,
    }
}

fn exited(line: &mut Line<'_>, exit: v1::ProcessExited) -> model::ProcessExited {
    let source = match exit.source() {
        v1::process_exited::Source::Pidfd => model::ExitSource::Pidfd,
        v1::process_exited::Source::Connector => model::ExitSource::Connector,
        v1::process_exited::Source::Inferred | v1::process_exited::Source::Unspecified => model::ExitSource::Inferred,
    };
    model::ProcessExited {
        service: line.name(exit.service),
        pid: exit.pid,
        started_us: line.since(exit.started_unix_us),
        name: line.name(exit.name),
        exit_code: exit.exit_code,
        signal: exit.signal,
        core_dumped: exit.core_dumped,
        source,
        leader: exit.leader,
        remaining: exit.remaining,
        still_listening: exit.still_listening,
        last_rss_bytes: line.size(exit.last_rss_bytes),
        parent_pid: exit.parent_pid,
        parent_name: line.name(exit.parent_name),
        served: exit.served,
        fingerprint: line.name(exit.fingerprint),
        first_fingerprint: line.name(exit.first_fingerprint),
    }
}

fn oom_kill(line: &mut Line<'_>, kill: v1::OomKill) -> model::OomKill {
    model::OomKill {
        service: line.name(kill.service),
        pid: kill.pid,
        name: line.name(kill.name),
        cgroup: line.line(kill.cgroup),
        rss_bytes: line.size(kill.rss_bytes),
        limit_bytes: line.size(kill.limit_bytes),
        from_counter: kill.from_counter,
        kills: kill.kills,
    }
}

fn health_result(line: &mut Line<'_>, health: v1::HealthResult) -> model::HealthResult {
    model::HealthResult {
        service: line.name(health.service),
        url: line.line(health.url),
        status: health.status,
        connect_us: line.took(health.connect_us),
        first_byte_us: line.took(health.first_byte_us),
        signal: line.name(health.signal),
        error: line.line(health.error),
        timeout_us: line.span(health.timeout_us),
        body: line.line(health.body),
        connect_only: health.connect_only,
    }
}

fn failure(line: &mut Line<'_>, failure: v1::Failure) -> model::Failure {
    let origin = match failure.origin() {
        v1::Origin::Unspecified => model::Origin::Unknown,
        v1::Origin::App => model::Origin::App,
        v1::Origin::Gateway => model::Origin::Gateway,
        v1::Origin::InnerGateway => model::Origin::InnerGateway,
        v1::Origin::Client => model::Origin::Client,
    };
    model::Failure {
        gateway: line.name(failure.gateway),
        status: failure.status,
        origin,
        signal: Signal::from_id(&failure.signal),
        attempts: line.list(failure.attempts, LIST_MAX, attempt),
        duration_us: line.took(failure.duration_us),
        method: line.name(failure.method),
        path: line.line(failure.path),
        request_id: line.name(failure.request_id),
        precision_us: line.span(failure.precision_us),
        unconfirmed: failure.unconfirmed,
        line: line.line(failure.line),
        reason: line.line(failure.reason),
        pool: line.name(failure.pool),
        read_us: line.since(failure.read_unix_us),
        body_bytes: line.amount(failure.body_bytes),
        repeats: failure.repeats,
    }
}

fn attempt(line: &mut Line<'_>, attempt: v1::Attempt) -> model::Attempt {
    model::Attempt {
        upstream: line.name(attempt.upstream),
        status: attempt.status,
        signal: Signal::from_id(&attempt.signal),
        connect_us: line.took(attempt.connect_us),
        header_us: line.took(attempt.header_us),
        response_us: line.took(attempt.response_us),
        received_bytes: line.amount(attempt.received_bytes),
        reused_connection: attempt.reused_connection,
        answered_meanwhile: attempt.answered_meanwhile,
    }
}

fn notice(line: &mut Line<'_>, notice: v1::GatewayNotice) -> model::GatewayNotice {
    model::GatewayNotice {
        gateway: line.name(notice.gateway),
        upstream: line.name(notice.upstream),
        signal: Signal::from_id(&notice.signal),
        says: line.line(notice.says),
        check_status: notice.check_status,
        check_signal: line.name(notice.check_signal),
        check_us: line.took(notice.check_us),
        pool: line.name(notice.pool),
    }
}
