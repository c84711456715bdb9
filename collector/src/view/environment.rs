//! `environment`: what a target runs on, and how the gateways before it are set up: what a person is asked for who asks
//! others for help. Bounded as the scope is, and in pools.

use super::document::*;
use super::fleet::{self, Instance, host_doc};
use super::gateways::{Addresses, gateway_docs};
use super::scope::Scope;
use super::{View, stamp};
use crate::model::{HealthCheck, HostState, Machine, Pool, PoolMember, TlsSettings};

/// Pools of one gateway that an answer tells of.
const POOLS_MAX: usize = 32;

/// Words of a control group's path, and what they tell of.
const CONTAINERS: [(&str, &str); 6] = [
    ("kubepods", "kubernetes"),
    ("docker", "docker"),
    ("libpod", "podman"),
    ("lxc", "lxc"),
    ("cri-containerd", "kubernetes"),
    ("crio-", "kubernetes"),
];

/// What `target` runs on.
pub fn document(view: &View, target: &str) -> EnvironmentDoc {
    let scope = Scope::of(view, target);
    let hosts: Vec<&HostState> =
        view.hosts.iter().map(AsRef::as_ref).filter(|host| scope.hosts.contains(&host.name)).collect();
    let instances = hosts.iter().flat_map(|host| fleet::instances(host).map(|one| (*host, one)));
    let instances = instances.filter(|(host, one)| scope.has_instance(one.service(), &host.name));
    let addresses = Addresses::of(view);
    let (mut gateways, mut pools_left_out) = (Vec::new(), 0);
    for host in &hosts {
        for gateway in gateway_docs(view, host, &addresses) {
            let is_target = [&host.name, &gateway.name].into_iter().any(|name| name == target);
            if is_target || scope.has_way(&host.name, &gateway.name, "") {
                let (told, left_out) = gateway_environment(&scope, host, gateway, is_target);
                gateways.push(told);
                pools_left_out += left_out;
            }
        }
    }
    EnvironmentDoc {
        target: target.to_owned(),
        near: scope.near.clone(),
        at: stamp(view.at_us),
        instances: instances.map(|(_, one)| instance_environment(&one)).collect(),
        hosts: hosts.iter().map(|host| host_environment(host)).collect(),
        gateways,
        left_out: (scope.left_out + pools_left_out) as u64,
    }
}

fn host_environment(host: &HostState) -> HostEnvironmentDoc {
    let Machine { kernel, system, is_virtual, model, container } = host.machine.as_deref().cloned().unwrap_or_default();
    let known = HostEnvironmentDoc {
        host: host_doc(host),
        kernel,
        system,
        is_virtual,
        model,
        container,
        ..HostEnvironmentDoc::default()
    };
    let Some(sample) = host.sample.as_deref() else { return known };
    let interfaces = sample.interfaces.iter().map(|one| InterfaceDoc {
        name: one.name.clone(),
        state: one.operstate.clone(),
        addresses: one.addresses.clone(),
        bad_packets: one.rx_bad.saturating_add(one.tx_bad),
    });
    let mounts = sample.mounts.iter().map(|one| MountDoc {
        path: one.path.clone(),
        total_bytes: one.total_bytes,
        available_bytes: one.available_bytes,
        available_inodes: (one.total_inodes > 0).then_some(one.available_inodes),
        read_only: one.read_only,
    });
    HostEnvironmentDoc {
        cpus: Some(sample.cpus).filter(|cpus| *cpus > 0),
        cpu_steal_ratio: sample.cpu_steal_ratio,
        mem_total_bytes: sample.mem_total_bytes,
        mem_available_bytes: sample.mem_available_bytes,
        swap_total_bytes: sample.swap_total_bytes,
        swap_used_bytes: sample.swap_used_bytes,
        interfaces: interfaces.collect(),
        default_route: sample.default_route,
        local_ports: Some(sample.local_ports).filter(|ports| *ports > 0),
        conntrack_count: sample.conntrack_count,
        conntrack_max: sample.conntrack_max,
        mounts: mounts.collect(),
        ..known
    }
}

fn instance_environment(instance: &Instance<'_>) -> InstanceEnvironmentDoc {
    let known = InstanceEnvironmentDoc { instance: instance.doc(), ..InstanceEnvironmentDoc::default() };
    let Some(sample) = instance.sample() else { return known };
    let processes = sample.processes.iter().map(|one| ProcessDoc {
        pid: one.pid,
        name: one.name.clone(),
        state: one.state.clone(),
        started: stamp(one.started_us),
        rss_bytes: one.rss_bytes,
        threads: one.threads,
        fds: one.fds,
        fd_limit: one.fd_limit,
    });
    let listeners = sample.listeners.iter().map(|one| ListenerDoc {
        address: one.address.clone(),
        queue: one.queue,
        queue_limit: one.queue_limit,
        established: one.established,
    });
    let known = InstanceEnvironmentDoc { processes: processes.collect(), listeners: listeners.collect(), ..known };
    let Some(cgroup) = &sample.cgroup else { return known };
    InstanceEnvironmentDoc {
        container: container(&cgroup.path).to_owned(),
        cgroup: cgroup.path.clone(),
        cpu_quota: cgroup.cpu_quota,
        throttled_periods_ratio: cgroup.throttled_periods_ratio,
        pids: cgroup.pids,
        pids_limit: cgroup.pids_limit,
        oom_kills: cgroup.oom_kills,
        ..known
    }
}

/// What holds a control group, as its path tells. Empty: that tells of nothing, which rules nothing out.
fn container(cgroup: &str) -> &'static str {
    let begins = |part: &str, word: &str| part.strip_prefix(word).is_some_and(|rest| !rest.starts_with(".service"));
    let told = |(word, _): &&(&str, &str)| cgroup.split('/').any(|part| begins(part, word));
    CONTAINERS.iter().find(told).map_or("", |(_, name)| name)
}

/// A gateway as it is set up towards the target, and how many of its pools are left out.
fn gateway_environment(
    scope: &Scope,
    host: &HostState,
    mut gateway: GatewayDoc,
    is_target: bool,
) -> (GatewayEnvironmentDoc, usize) {
    let mut ways = scope.upstreams.iter().filter(|way| way.host == host.name && way.gateway == gateway.name);
    // Where no record names the upstream, any of them may be meant.
    let all = is_target || ways.any(|way| way.upstream.is_empty());
    let meant = |address: &str| all || scope.has_way(&host.name, &gateway.name, address);
    let config = host.gateways.get(&gateway.name).and_then(|state| state.config.as_deref());
    let pools = config.map(|config| config.pools.as_slice()).unwrap_or_default();
    let mut pools: Vec<&Pool> =
        pools.iter().filter(|pool| all || pool.members.iter().any(|one| meant(&one.address))).collect();
    gateway.upstreams.retain(|one| meant(&one.upstream));
    let left_out = pools.len().saturating_sub(POOLS_MAX);
    pools.truncate(POOLS_MAX);
    (GatewayEnvironmentDoc { pools: pools.into_iter().map(pool_doc).collect(), gateway }, left_out)
}

fn pool_doc(pool: &Pool) -> PoolDoc {
    let timeouts = pool.timeouts.clone().unwrap_or_default();
    PoolDoc {
        name: pool.name.clone(),
        source: pool.source.clone(),
        scheme: pool.scheme.clone(),
        tries: pool.tries,
        connect_ms: timeouts.connect_us.map(in_ms),
        send_ms: timeouts.send_us.map(in_ms),
        read_ms: timeouts.read_us.map(in_ms),
        keepalive_idle_ms: pool.keepalive_idle_us.map(in_ms),
        header_limit_bytes: pool.header_limit_bytes,
        check: pool.check.as_ref().map(check_doc),
        tls: pool.tls.as_ref().map(tls_doc),
        members: pool.members.iter().map(member_doc).collect(),
    }
}

fn check_doc(check: &HealthCheck) -> CheckDoc {
    CheckDoc {
        kind: check.kind.clone(),
        path: check.path.clone(),
        host: check.host.clone(),
        expects: check.expects.clone(),
        interval_ms: in_ms(check.interval_us),
        timeout_ms: in_ms(check.timeout_us),
        fall: check.fall,
        rise: check.rise,
    }
}

fn tls_doc(tls: &TlsSettings) -> TlsDoc {
    let TlsSettings { verify, ca_file, server_name, protocols } = tls.clone();
    TlsDoc { verify, ca_file, server_name, protocols }
}

fn member_doc(member: &PoolMember) -> MemberDoc {
    MemberDoc {
        name: member.name.clone(),
        address: member.address.clone(),
        check_address: member.check_address.clone(),
        backup: member.backup,
        down: member.down,
        max_fails: member.max_fails,
        fail_timeout_ms: member.fail_timeout_us.map(in_ms),
        max_connections: member.max_connections,
    }
}

fn in_ms(us: u64) -> u64 {
    us / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_tells_of_its_container() {
        for (path, holder) in [
            ("/kubepods.slice/kubepods-burstable.slice/cri-containerd-6f2a.scope", "kubernetes"),
            ("/system.slice/docker-4bd1.scope", "docker"),
            ("/docker/4bd1", "docker"),
            ("/machine.slice/libpod-77ac.scope", "podman"),
            ("/lxc.payload.web/system.slice/api.service", "lxc"),
            ("/system.slice/docker.service", ""),
            ("/system.slice/api.service", ""),
            ("/", ""),
        ] {
            assert_eq!(container(path), holder, "{path}");
        }
    }
}
