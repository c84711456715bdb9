//! Samplers, services and gateway configurations, in both directions.

use why502_proto::v1;

use super::bounds::{LIST_MAX, Line};
use crate::model;

/// A sampler's status.
pub fn sampler(line: &mut Line<'_>, status: v1::SamplerStatus) -> model::SamplerStatus {
    let state = match status.state() {
        v1::sampler_status::State::Active => model::SamplerState::Active,
        v1::sampler_status::State::Degraded | v1::sampler_status::State::Unspecified => model::SamplerState::Degraded,
        v1::sampler_status::State::Unavailable => model::SamplerState::Unavailable,
        v1::sampler_status::State::Failed => model::SamplerState::Failed,
    };
    model::SamplerStatus { name: line.name(status.name), state, why: line.line(status.why) }
}

/// A service as configured.
pub fn service(line: &mut Line<'_>, service: v1::ServiceConfig) -> model::ServiceConfig {
    model::ServiceConfig {
        name: line.name(service.name),
        listen: line.names(service.listen),
        declared: service.declared,
        health_path: line.name(service.health_path),
    }
}

/// What kind of machine a host is.
pub fn machine(line: &mut Line<'_>, machine: v1::Machine) -> model::Machine {
    model::Machine {
        kernel: line.name(machine.kernel),
        system: line.name(machine.system),
        is_virtual: machine.is_virtual,
        model: line.name(machine.model),
        container: line.name(machine.container),
    }
}

/// A gateway as configured.
pub fn gateway(line: &mut Line<'_>, gateway: v1::GatewayConfig) -> model::GatewayConfig {
    model::GatewayConfig {
        gateway: line.name(gateway.gateway),
        kind: line.name(gateway.kind),
        pools: line.list(gateway.pools, LIST_MAX, pool),
        faults: line.list(gateway.faults, LIST_MAX, Line::line),
        readable: gateway.readable,
        at_us: line.since(if gateway.changed_unix_us > 0 { gateway.changed_unix_us } else { gateway.at_unix_us }),
        log_has_upstream: gateway.log_has_upstream,
        missing_log: line.line(gateway.missing_log),
    }
}

fn pool(line: &mut Line<'_>, pool: v1::Pool) -> model::Pool {
    model::Pool {
        name: line.name(pool.name),
        members: line.list(pool.members, LIST_MAX, member),
        check: pool.check.map(|check| health_check(line, check)),
        timeouts: pool.timeouts.map(|timeouts| model::Timeouts {
            connect_us: line.took(timeouts.connect_us),
            send_us: line.took(timeouts.send_us),
            read_us: line.took(timeouts.read_us),
        }),
        tries: pool.tries,
        scheme: line.name(pool.scheme),
        keepalive_idle_us: line.took(pool.keepalive_idle_us),
        tls: pool.tls.map(|tls| model::TlsSettings {
            verify: tls.verify,
            ca_file: line.line(tls.ca_file),
            server_name: line.name(tls.server_name),
            protocols: line.name(tls.protocols),
        }),
        header_limit_bytes: line.size(pool.header_limit_bytes),
        source: line.line(pool.source),
    }
}

fn member(line: &mut Line<'_>, member: v1::PoolMember) -> model::PoolMember {
    model::PoolMember {
        name: line.name(member.name),
        address: line.name(member.address),
        backup: member.backup,
        down: member.down,
        max_fails: member.max_fails,
        fail_timeout_us: line.took(member.fail_timeout_us),
        check_address: line.name(member.check_address),
        max_connections: member.max_connections,
    }
}

fn health_check(line: &mut Line<'_>, check: v1::HealthCheck) -> model::HealthCheck {
    model::HealthCheck {
        kind: line.name(check.kind),
        path: line.line(check.path),
        interval_us: line.span(check.interval_us),
        timeout_us: line.span(check.timeout_us),
        fall: check.fall,
        rise: check.rise,
        expects: line.name(check.expects),
        host: line.name(check.host),
    }
}

/// A sampler's state as the agent tells it.
pub fn sampler_told(status: &model::SamplerStatus) -> v1::SamplerStatus {
    let state = match status.state {
        model::SamplerState::Active => v1::sampler_status::State::Active,
        model::SamplerState::Degraded => v1::sampler_status::State::Degraded,
        model::SamplerState::Unavailable => v1::sampler_status::State::Unavailable,
        model::SamplerState::Failed => v1::sampler_status::State::Failed,
    };
    v1::SamplerStatus { name: status.name.clone(), state: state.into(), why: status.why.clone() }
}

/// A service as its agent tells of it.
pub fn service_told(service: &model::ServiceConfig) -> v1::ServiceConfig {
    let model::ServiceConfig { name, listen, declared, health_path } = service.clone();
    v1::ServiceConfig { name, listen, declared, health_path }
}

/// What kind of machine a host is, as its agent tells of it.
pub fn machine_told(machine: &model::Machine) -> v1::Machine {
    let model::Machine { kernel, system, is_virtual, model, container } = machine.clone();
    v1::Machine { kernel, system, is_virtual, model, container }
}

/// A gateway's configuration as its agent tells of it, by whose clock it is so since `at_unix_us`.
pub fn gateway_told(config: &model::GatewayConfig, at_unix_us: i64) -> v1::GatewayConfig {
    let model::GatewayConfig { gateway, kind, pools, faults, readable, at_us: _, log_has_upstream, missing_log } =
        config.clone();
    let pools = pools.into_iter().map(pool_told).collect();
    let changed_unix_us = 0;
    v1::GatewayConfig {
        gateway,
        kind,
        pools,
        faults,
        readable,
        at_unix_us,
        log_has_upstream,
        missing_log,
        changed_unix_us,
    }
}

fn pool_told(pool: model::Pool) -> v1::Pool {
    v1::Pool {
        name: pool.name,
        members: pool.members.into_iter().map(member_told).collect(),
        check: pool.check.map(check_told),
        timeouts: pool.timeouts.map(|timeouts| {
            let model::Timeouts { connect_us, send_us, read_us } = timeouts;
            v1::Timeouts { connect_us, send_us, read_us }
        }),
        tries: pool.tries,
        scheme: pool.scheme,
        keepalive_idle_us: pool.keepalive_idle_us,
        tls: pool.tls.map(|tls| {
            let model::TlsSettings { verify, ca_file, server_name, protocols } = tls;
            v1::TlsSettings { verify, ca_file, server_name, protocols }
        }),
        header_limit_bytes: pool.header_limit_bytes,
        source: pool.source,
    }
}

fn member_told(member: model::PoolMember) -> v1::PoolMember {
    let model::PoolMember { name, address, backup, down, max_fails, fail_timeout_us, check_address, max_connections } =
        member;
    v1::PoolMember { name, address, backup, down, max_fails, fail_timeout_us, check_address, max_connections }
}

fn check_told(check: model::HealthCheck) -> v1::HealthCheck {
    let model::HealthCheck { kind, path, interval_us, timeout_us, fall, rise, expects, host } = check;
    v1::HealthCheck { kind, path, interval_us, timeout_us, fall, rise, expects, host }
}
