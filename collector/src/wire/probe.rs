//! Results of probes.

use why502_proto::v1;

use super::bounds::{LIST_MAX, Line};
use crate::model;

/// The latest end of a certificate that is believed, unix seconds (year 9999, RFC 5280).
const NOT_AFTER_MAX_S: i64 = 253_402_300_799;

/// What the agent on a gateway's host found.
pub fn result(line: &mut Line<'_>, probe: v1::ProbeResult) -> model::ProbeResult {
    model::ProbeResult {
        gateway: line.name(probe.gateway),
        upstream: line.name(probe.upstream),
        lookup: probe.lookup.map(|lookup| model::NameLookup {
            name: line.name(lookup.name),
            addresses: line.names(lookup.addresses),
            error: line.line(lookup.error),
        }),
        route: probe.route.map(|route| model::RouteLookup {
            found: route.found,
            interface: line.name(route.interface),
            via: line.name(route.via),
            error: line.line(route.error),
        }),
        connects: line.list(probe.connects, LIST_MAX, connect),
        other_port: probe.other_port.map(|one| connect(line, one)),
        echo_answered: probe.echo_answered,
        neighbour: line.name(probe.neighbour),
        http: probe.http.map(|one| http(line, one)),
        idle_close_us: line.took(probe.idle_close_us),
        idle_kept_us: line.took(probe.idle_kept_us),
        tls: probe.tls.map(|tls| model::TlsTry {
            ok: tls.ok,
            error: line.line(tls.error),
            not_after_unix_s: tls.not_after_unix_s.clamp(0, NOT_AFTER_MAX_S),
            names: line.names(tls.names),
            plain_answer: tls.plain_answer,
        }),
        small_packets: probe.small_packets.map(|one| http(line, one)),
    }
}

fn http(line: &mut Line<'_>, http: v1::HttpTry) -> model::HttpTry {
    model::HttpTry {
        request: line.line(http.request),
        status: http.status,
        signal: line.name(http.signal),
        first_byte_us: line.took(http.first_byte_us),
        header_bytes: line.size(http.header_bytes),
        error: line.line(http.error),
        received_bytes: line.size(http.received_bytes),
    }
}

fn connect(line: &mut Line<'_>, connect: v1::ConnectTry) -> model::ConnectTry {
    model::ConnectTry {
        address: line.name(connect.address),
        outcome: line.name(connect.outcome),
        errno: connect.errno,
        took_us: line.span(connect.took_us),
        syns_resent: connect.syns_resent,
    }
}
