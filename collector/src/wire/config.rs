//! Samplers, services and gateway configurations.

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

/// A gateway as configured.
pub fn gateway(line: &mut Line<'_>, gateway: v1::GatewayConfig) -> model::GatewayConfig {
    model::GatewayConfig {
        gateway: line.name(gateway.gateway),
        kind: line.name(gateway.kind),
        pools: line.list(gateway.pools, LIST_MAX, pool),
        faults: line.list(gateway.faults, LIST_MAX, Line::line),
        readable: gateway.readable,
        at_us: line.since(gateway.at_unix_us),
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
