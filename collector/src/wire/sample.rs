//! Readings.

use why502_proto::v1;

use super::bounds::{LIST_MAX, Line};
use crate::model;

/// Most processes told of one instance.
const PROCESSES_MAX: usize = 64;

/// The host as a whole.
pub fn host(line: &mut Line<'_>, host: v1::HostSample) -> model::HostSample {
    model::HostSample {
        at_us: line.at(host.at_unix_us),
        stretch_us: line.span(host.stretch_us),
        cpu_busy_ratio: line.ratio(host.cpu_busy_ratio),
        cpu_steal_ratio: line.ratio(host.cpu_steal_ratio),
        cpus: host.cpus,
        load1: line.ratio(host.load1),
        mem_total_bytes: line.amount(host.mem_total_bytes),
        mem_available_bytes: line.amount(host.mem_available_bytes),
        swap_total_bytes: line.amount(host.swap_total_bytes),
        swap_used_bytes: line.amount(host.swap_used_bytes),
        pressure: host.pressure.map(|one| pressure(line, one)),
        uptime_us: line.uptime(host.uptime_us),
        mounts: line.list(host.mounts, LIST_MAX, mount),
        interfaces: line.list(host.interfaces, LIST_MAX, interface),
        net: host.net.map(|one| net(line, one)),
        conntrack_count: line.amount(host.conntrack_count),
        conntrack_max: line.amount(host.conntrack_max),
        conntrack_dropped: line.amount(host.conntrack_dropped),
        time_wait: line.amount(host.time_wait),
        local_ports: host.local_ports,
        default_route: host.default_route,
    }
}

fn pressure(line: &mut Line<'_>, pressure: v1::Pressure) -> model::Pressure {
    model::Pressure {
        cpu_some_ratio: line.ratio(pressure.cpu_some_ratio),
        memory_some_ratio: line.ratio(pressure.memory_some_ratio),
        memory_full_ratio: line.ratio(pressure.memory_full_ratio),
        io_some_ratio: line.ratio(pressure.io_some_ratio),
        io_full_ratio: line.ratio(pressure.io_full_ratio),
    }
}

fn mount(line: &mut Line<'_>, mount: v1::MountSample) -> model::MountSample {
    model::MountSample {
        path: line.line(mount.path),
        total_bytes: line.size(mount.total_bytes),
        available_bytes: line.size(mount.available_bytes),
        total_inodes: line.size(mount.total_inodes),
        available_inodes: line.size(mount.available_inodes),
        services: line.names(mount.services),
        read_only: mount.read_only,
    }
}

fn interface(line: &mut Line<'_>, interface: v1::InterfaceSample) -> model::InterfaceSample {
    model::InterfaceSample {
        name: line.name(interface.name),
        carrier: interface.carrier,
        operstate: line.name(interface.operstate),
        addresses: line.names(interface.addresses),
        rx_bad: line.count(interface.rx_bad),
        tx_bad: line.count(interface.tx_bad),
        admin_up: interface.admin_up,
    }
}

fn net(line: &Line<'_>, net: v1::NetCounters) -> model::NetCounters {
    model::NetCounters {
        listen_overflows: line.count(net.listen_overflows),
        listen_drops: line.count(net.listen_drops),
        syn_retransmits: line.count(net.syn_retransmits),
        retransmits: line.count(net.retransmits),
        segments_out: line.count(net.segments_out),
        established_resets: line.count(net.established_resets),
        resets_out: line.count(net.resets_out),
        timeouts: line.count(net.timeouts),
        abort_on_close: line.count(net.abort_on_close),
        attempt_fails: line.count(net.attempt_fails),
        unreachables_out: line.count(net.unreachables_out),
        unreachables_in: line.count(net.unreachables_in),
    }
}

/// One service on the host.
pub fn instance(line: &mut Line<'_>, instance: v1::InstanceSample) -> model::InstanceSample {
    model::InstanceSample {
        service: line.name(instance.service),
        at_us: line.at(instance.at_unix_us),
        process_count: instance.process_count,
        processes: line.list(instance.processes, PROCESSES_MAX, process),
        listeners: line.list(instance.listeners, LIST_MAX, listener),
        cgroup: instance.cgroup.map(|one| cgroup(line, one)),
        listeners_known: instance.listeners_known,
        unit: line.name(instance.unit),
    }
}

fn process(line: &mut Line<'_>, process: v1::ProcessSample) -> model::ProcessSample {
    model::ProcessSample {
        pid: process.pid,
        parent_pid: process.parent_pid,
        started_us: line.since(process.started_unix_us),
        name: line.name(process.name),
        state: line.name(process.state),
        cpu_ratio: line.ratio(process.cpu_ratio),
        run_delay_ratio: line.ratio(process.run_delay_ratio),
        rss_bytes: line.size(process.rss_bytes),
        threads: process.threads,
        thread_states: line.name(process.thread_states),
        fds: process.fds,
        fd_limit: line.amount(process.fd_limit),
        leader: process.leader,
        waits_in: line.name(process.waits_in),
    }
}

fn listener(line: &mut Line<'_>, listener: v1::ListenerSample) -> model::ListenerSample {
    model::ListenerSample {
        address: line.name(listener.address),
        queue: listener.queue,
        queue_limit: listener.queue_limit,
        established: listener.established,
        unacknowledged: listener.unacknowledged,
        pid: listener.pid,
    }
}

fn cgroup(line: &mut Line<'_>, cgroup: v1::CgroupSample) -> model::CgroupSample {
    model::CgroupSample {
        path: line.line(cgroup.path),
        mem_bytes: line.amount(cgroup.mem_bytes),
        mem_limit_bytes: line.amount(cgroup.mem_limit_bytes),
        oom_kills: line.amount(cgroup.oom_kills),
        throttled_periods_ratio: line.ratio(cgroup.throttled_periods_ratio),
        throttled_ratio: line.ratio(cgroup.throttled_ratio),
        cpu_quota: line.ratio(cgroup.cpu_quota),
        pids: line.amount(cgroup.pids),
        pids_limit: line.amount(cgroup.pids_limit),
        pressure: cgroup.pressure.map(|one| pressure(line, one)),
        frozen: cgroup.frozen,
    }
}

/// What a gateway's logs told of one upstream.
pub fn upstream(line: &mut Line<'_>, upstream: v1::UpstreamSample) -> model::UpstreamSample {
    model::UpstreamSample {
        gateway: line.name(upstream.gateway),
        upstream: line.name(upstream.upstream),
        from_us: line.at(upstream.from_unix_us),
        to_us: line.at(upstream.to_unix_us),
        answered: line.count(upstream.answered),
        answered_5xx: line.count(upstream.answered_5xx),
        failed: line.count(upstream.failed),
        last_answered_us: line.since(upstream.last_answered_unix_us),
        response_sum_us: line.span(upstream.response_sum_us),
        response_max_us: line.span(upstream.response_max_us),
        client_aborts: line.count(upstream.client_aborts),
        unparsed: line.count(upstream.unparsed),
        unparsed_sample: line.line(upstream.unparsed_sample),
        first_answered_us: line.since(upstream.first_answered_unix_us),
    }
}

/// One source of a gateway's lines.
pub fn source(line: &mut Line<'_>, source: v1::LogSource) -> model::LogSource {
    model::LogSource {
        gateway: line.name(source.gateway),
        source: line.line(source.source),
        lines: line.size(source.lines),
        failures: line.size(source.failures),
        unparsed: line.size(source.unparsed),
        unparsed_sample: line.line(source.unparsed_sample),
        cut_lines: line.size(source.cut_lines),
        lost_lines: line.size(source.lost_lines),
        lost_files: line.size(source.lost_files),
        cut_senders: line.size(source.cut_senders),
        fault: line.line(source.fault),
    }
}
