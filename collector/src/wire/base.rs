//! A host's past state as the records that give it again, as far as evidence rests on it: who it is, what is configured on
//! it, its addresses, what ran and listened. Whoever carries a stretch of a host's records elsewhere puts these before it.

use why502_proto::v1;

use super::config::{gateway_told, machine_told, sampler_told, service_told};
use super::{Incoming, incoming};
use crate::model;

/// The records that give a host again as it was when it was last heard, by an agent that numbers as `epoch` says.
pub fn base(host: &model::HostState, epoch: u64) -> Vec<Incoming> {
    let heard_us = host.last_heard_us;
    // An agent names its numbering by when it began: what it saw since then counts as seen.
    let began_us = i64::try_from(epoch).unwrap_or(i64::MAX).min(heard_us).max(host.first_heard_us);
    let mut records = vec![
        stamped(began_us, v1::journal_record::Kind::Hello(hello(host, epoch, began_us))),
        stamped(heard_us, v1::journal_record::Kind::Report(report(host, epoch))),
    ];
    if !host.connected {
        let (at_us, why) = if host.lost_us > 0 { (host.lost_us, model::CONNECTION_LOST) } else { (heard_us, "") };
        let ended = v1::StreamEnded { host: host.name.clone(), why: why.to_owned() };
        records.push(stamped(at_us, v1::journal_record::Kind::StreamEnded(ended)));
    }
    records
}

/// A report with nothing left but the ends of a service's processes. None: it tells of none.
pub fn only_ends(record: &[u8], service: &str) -> Option<Incoming> {
    let Incoming { mut record, .. } = Incoming::decode(record)?;
    let Some(v1::journal_record::Kind::Report(told)) = &mut record.kind else { return None };
    let whole = told.report.take()?;
    let is_end = |event: &v1::Event| matches!(&event.kind, Some(v1::event::Kind::ProcessExited(exit)) if exit.service == service);
    let events: Vec<v1::Event> = whole.events.into_iter().filter(is_end).collect();
    if events.is_empty() {
        return None;
    }
    let (at_unix_us, collector_offset_us) = (whole.at_unix_us, whole.collector_offset_us);
    told.report = Some(v1::Report { at_unix_us, collector_offset_us, events, ..Default::default() });
    Some(record.into())
}

fn stamped(at_us: i64, kind: v1::journal_record::Kind) -> Incoming {
    let mut record = incoming(kind);
    record.stamp(at_us);
    record
}

fn hello(host: &model::HostState, epoch: u64, at_us: i64) -> v1::Hello {
    v1::Hello {
        host: host.name.clone(),
        boot_id: host.boot_id.clone(),
        epoch,
        agent_version: host.agent_version.clone(),
        next_seq: 1,
        at_unix_us: at_us.saturating_add(host.clock_ahead_us),
        interval_us: host.interval_us,
        samplers: host.samplers.values().map(sampler_told).collect(),
        services: host.services.values().map(service_told).collect(),
        machine: host.machine.as_deref().map(machine_told),
    }
}

fn report(host: &model::HostState, epoch: u64) -> v1::ReportRecord {
    let clock = Clock(host.clock_ahead_us);
    let configs = host.gateways.values().flat_map(|gateway| [&gateway.config_before, &gateway.config]).flatten();
    let stopping = v1::event::Kind::AgentStopping(v1::AgentStopping::default());
    let events = host.stopped.then(|| v1::Event { at_unix_us: clock.agents(host.last_heard_us), kind: Some(stopping) });
    let report = v1::Report {
        at_unix_us: clock.agents(host.last_heard_us),
        collector_offset_us: Some(host.clock_ahead_us.saturating_neg()),
        host: host.sample.as_deref().map(|sample| host_sample(&clock, sample)),
        instances: host.instances.values().filter_map(|one| Some(instance(&clock, one.sample.as_deref()?))).collect(),
        gateways: configs.map(|config| gateway_told(config, clock.agents(config.at_us))).collect(),
        events: events.into_iter().collect(),
        ..Default::default()
    };
    v1::ReportRecord { host: host.name.clone(), boot_id: host.boot_id.clone(), epoch, report: Some(report) }
}

/// How far an agent's clock is ahead of the collector's, microseconds.
struct Clock(i64);

impl Clock {
    /// A time of the collector's as the agent's clock tells it. 0 means none and stays.
    fn agents(&self, at_us: i64) -> i64 {
        if at_us == 0 { 0 } else { at_us.saturating_add(self.0) }
    }
}

/// What a host is: readings that change from one to the next are left out.
fn host_sample(clock: &Clock, sample: &model::HostSample) -> v1::HostSample {
    let interface = |one: &model::InterfaceSample| v1::InterfaceSample {
        name: one.name.clone(),
        carrier: one.carrier,
        operstate: one.operstate.clone(),
        addresses: one.addresses.clone(),
        admin_up: one.admin_up,
        ..Default::default()
    };
    v1::HostSample {
        at_unix_us: clock.agents(sample.at_us),
        cpus: sample.cpus,
        uptime_us: sample.uptime_us,
        interfaces: sample.interfaces.iter().map(interface).collect(),
        local_ports: sample.local_ports,
        ..Default::default()
    }
}

/// Whether a service ran, and where it listened.
fn instance(clock: &Clock, sample: &model::InstanceSample) -> v1::InstanceSample {
    let listener = |one: &model::ListenerSample| v1::ListenerSample {
        address: one.address.clone(),
        queue_limit: one.queue_limit,
        ..Default::default()
    };
    v1::InstanceSample {
        service: sample.service.clone(),
        at_unix_us: clock.agents(sample.at_us),
        process_count: sample.process_count,
        listeners: sample.listeners.iter().map(listener).collect(),
        listeners_known: sample.listeners_known,
        unit: sample.unit.clone(),
        ..Default::default()
    }
}
