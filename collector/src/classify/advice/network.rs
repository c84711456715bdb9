//! Advice on the way between the gateway and the instance.

use super::kind;
use crate::classify::narrow::narrow;
use crate::classify::scene::Scene;
use crate::fleet::HostEntry;
use crate::model::{Cause, HostSample, Setting};

pub(super) fn firewall(scene: &Scene, cause: Cause) -> Vec<String> {
    let verb = if cause == Cause::FirewallReject { "rejects" } else { "drops" };
    vec![
        format!(
            "find the rule that {verb} {} -> {} on {} or in between: `nft list ruleset` / `iptables -nvL`, security groups",
            scene.case.key.gateway.host,
            scene.upstream(),
            scene.host_name()
        ),
        format!("allow TCP from the gateway's host to {}", scene.upstream()),
    ]
}

pub(super) fn conntrack(scene: &Scene) -> Vec<String> {
    let full = |entry: &HostEntry| {
        let max = entry.state.sample.as_ref()?.conntrack_max?;
        Some((entry.state.name.clone(), max))
    };
    let both = scene.host.into_iter().chain(scene.gateway_host()).filter_map(full);
    let Some((host, max)) = both.min_by_key(|(_, max)| *max) else {
        return vec!["raise net.netfilter.nf_conntrack_max, and shorten nf_conntrack_tcp_timeout_time_wait".to_owned()];
    };
    vec![
        format!("raise net.netfilter.nf_conntrack_max on {host} from {max} to {}", max * 2),
        "see which connections fill it (`conntrack -L`), and shorten nf_conntrack_tcp_timeout_established".to_owned(),
    ]
}

pub(super) fn route(scene: &Scene) -> Vec<String> {
    let (from, to) = (&scene.case.key.gateway.host, scene.upstream());
    let ip = to.rsplit_once(':').map_or(to, |(ip, _)| ip);
    vec![format!(
        "put the route back: `ip route get {ip}` on {from}, and the way back to {from} on the instance's host"
    )]
}

/// Of a way that loses large packets; any other loss has the catalogue's advice.
pub(super) fn loss(scene: &Scene) -> Vec<String> {
    if narrow(scene).is_none() {
        return Vec::new();
    }
    let (from, to) = (&scene.case.key.gateway.host, scene.upstream());
    let ip = to.rsplit_once(':').map_or(to, |(ip, _)| ip);
    vec![
        format!(
            "find the largest packet that passes between {from} and {ip}, both ways (`ping -M do -s 1472 {ip}` and fewer bytes); set that MTU \
             on both hosts' interfaces, or mend the tunnel, link or filter in between: ICMP \"fragmentation needed\" must come through"
        ),
        format!(
            "until then: net.ipv4.tcp_mtu_probing = 1 on the host of {to}, or a smaller segment size for its answers (`advmss` of \
             {from}'s route to {ip}, `-j TCPMSS --set-mss`)"
        ),
    ]
}

pub(super) fn name(scene: &Scene) -> Vec<String> {
    let setting = match kind(scene) {
        "nginx" | "ingress_nginx" => {
            "`resolver` with a short valid=, and a variable in proxy_pass so that it asks again"
        }
        "haproxy" => "a `resolvers` section and `resolvers NAME init-addr last,libc,none` on the server line",
        "envoy" | "istio" => "dns_lookup_family and typed_dns_resolver_config of the cluster",
        "caddy" => "`dynamic a` upstreams with resolvers and refresh",
        _ => "the gateway's resolver",
    };
    let lookup = scene.probes.iter().rev().find_map(|(_, probe)| probe.lookup.as_ref());
    let name = lookup.map_or("the upstream's name", |lookup| lookup.name.as_str());
    vec![
        format!("see whether {name} resolves on {} (/etc/resolv.conf, the record itself)", scene.case.key.gateway.host),
        format!("then let the gateway resolve it anew: {setting}"),
    ]
}

pub(super) fn local_ports(scene: &Scene) -> Vec<String> {
    let newest = scene.gateway_host().and_then(|host| host.state.sample.as_deref());
    let ports = newest.map(|sample: &HostSample| sample.local_ports).filter(|ports| *ports > 0);
    let now = ports.map_or_else(String::new, |ports| format!(" (now {ports} ports)"));
    let keep = match kind(scene) {
        "nginx" => "`keepalive 64;` in the upstream block, with proxy_http_version 1.1 and an empty Connection header",
        "haproxy" => "`http-reuse safe` and pool-max-conn",
        kind => Setting::KeepaliveIdle.name(kind).unwrap_or("keep-alive to the upstream"),
    };
    vec![
        format!("keep connections to {} open and use them again: {keep}", scene.upstream()),
        format!("widen net.ipv4.ip_local_port_range{now} to 1024 65535, and set net.ipv4.tcp_tw_reuse = 1"),
    ]
}
