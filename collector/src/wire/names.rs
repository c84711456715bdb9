//! What a report names: things for which something is kept by their name.

use why502_proto::v1;
use why502_proto::v1::event::Kind;

/// Tells each name in a report, those that come again too.
pub fn names<'a>(report: &'a v1::Report, tell: &mut dyn FnMut(&'a str)) {
    report.instances.iter().for_each(|one| tell(&one.service));
    report.samplers.iter().for_each(|one| tell(&one.name));
    report.gateways.iter().for_each(|one| tell(&one.gateway));
    for one in &report.sources {
        [&one.gateway, &one.source].into_iter().for_each(|name| tell(name));
    }
    for one in &report.upstreams {
        [&one.gateway, &one.upstream].into_iter().for_each(|name| tell(name));
    }
    report.events.iter().filter_map(|event| event.kind.as_ref()).for_each(|kind| of_event(kind, tell));
}

fn of_event<'a>(kind: &'a Kind, tell: &mut dyn FnMut(&'a str)) {
    match kind {
        Kind::ProcessStarted(one) => tell(&one.service),
        Kind::ProcessExited(one) => tell(&one.service),
        Kind::OomKill(one) => tell(&one.service),
        Kind::ListenChanged(one) => [&one.service, &one.address].into_iter().for_each(|name| tell(name)),
        Kind::Health(one) => tell(&one.service),
        Kind::LogMatch(one) => tell(&one.service),
        Kind::RoleChanged(one) => tell(&one.service),
        Kind::UnitChanged(one) => tell(&one.service),
        Kind::KernelNote(one) => tell(&one.service),
        Kind::Notice(one) => [&one.gateway, &one.upstream].into_iter().for_each(|name| tell(name)),
        Kind::Probe(one) => [&one.gateway, &one.upstream].into_iter().for_each(|name| tell(name)),
        Kind::Failure(one) => {
            tell(&one.gateway);
            one.attempts.iter().for_each(|attempt| tell(&attempt.upstream));
        }
        Kind::LinkChanged(_) | Kind::ClockStepped(_) | Kind::AgentStopping(_) => {}
    }
}
