//! What routes and TCP proxies say of the clusters they lead to: time limits and retries. The first that leads to a
//! cluster counts; a virtual host's retries hold for its routes that name none.

use std::time::Duration;

use super::cluster::duration;
use crate::gateway::Pool;
use crate::gateway::document::{self, Node};

/// A route's limit for the whole answer where it names none.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);
/// A TCP proxy's idle limit.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Puts into the pools what the document's routes say of them.
pub(super) fn settle(document: &Node, pools: &mut [Pool]) {
    let mut settled: Vec<String> = Vec::new();
    document.walk("", &mut |key, node| {
        if document::same_key(key, "virtual_hosts") {
            for route in node.get("routes").items() {
                http(route.get("route"), node.get("retry_policy"), pools, &mut settled);
            }
        } else if is_tcp_proxy(node) {
            tcp(node, pools, &mut settled);
        }
    });
}

fn is_tcp_proxy(node: &Node) -> bool {
    node.get("@type").text().is_some_and(|kind| kind.ends_with(".TcpProxy"))
}

fn http(route: &Node, inherited: &Node, pools: &mut [Pool], settled: &mut Vec<String>) {
    let own = route.get("retry_policy");
    let retry = if own.exists() { own } else { inherited };
    let limit = duration(route.get("timeout")).unwrap_or(ROUTE_TIMEOUT);
    let per_try = duration(retry.get("per_try_timeout")).filter(|limit| !limit.is_zero());
    let retries = if retry.get("retry_on").exists() { retry.get("num_retries").number().unwrap_or(1) } else { 0 };
    for pool in targets(route, pools, settled) {
        // Zero switches the limit off.
        let whole = (!limit.is_zero()).then_some(limit);
        pool.read_timeout = per_try.map_or(whole, |each| Some(whole.map_or(each, |whole| each.min(whole))));
        pool.tries = Some(1 + retries);
    }
}

fn tcp(proxy: &Node, pools: &mut [Pool], settled: &mut Vec<String>) {
    let idle = duration(proxy.get("idle_timeout")).unwrap_or(TCP_IDLE_TIMEOUT);
    let tries = proxy.get("max_connect_attempts").number().unwrap_or(1);
    for pool in targets(proxy, pools, settled) {
        "tcp".clone_into(&mut pool.scheme);
        (pool.read_timeout, pool.send_timeout, pool.tries) = (Some(idle), Some(idle), Some(tries));
    }
}

/// The clusters that this leads to and that nothing before it led to.
fn targets<'p>(node: &Node, pools: &'p mut [Pool], settled: &mut Vec<String>) -> Vec<&'p mut Pool> {
    let weighted = node.at("weighted_clusters.clusters").items().iter().map(|cluster| cluster.get("name"));
    let names: Vec<String> = [node.get("cluster")].into_iter().chain(weighted).map(Node::owned).collect();
    let fresh: Vec<String> = names.into_iter().filter(|name| !settled.contains(name)).collect();
    settled.extend(fresh.iter().cloned());
    pools.iter_mut().filter(|pool| fresh.contains(&pool.name)).collect()
}
