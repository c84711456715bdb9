//! The stories of the lab: for each cause one that provokes it for real, and look-alikes that must not be taken for it.

mod agreement;
mod application;
mod blind;
mod checks;
mod clocks;
mod down;
mod gateway_side;
mod leadership;
mod lookalike;
mod network;
mod overload;
mod restarting;
mod runtimes;
pub mod wild;

use super::lab::Done;
use super::lab::plan::Kind;
use super::lab::story::Story;
use super::lab::world::World;

/// Gateways that go on asking a member that is down. HAProxy's check takes it out before many requests have met it, so that
/// there is little to tell.
pub(crate) const UNCHECKED: [Kind; 3] = [Kind::Envoy, Kind::Apache, Kind::Caddy];

/// Stories that are told over IPv6 as well: what an agent asks the kernel for and what gateways write differs there.
const OVER_IPV6: [&str; 6] =
    ["killed", "hung_waiting", "firewall_reject", "firewall_reject_icmp", "firewall_drop", "host_down"];

/// Number of the first application's host.
pub(crate) const ONE: u8 = 21;
/// Number of the second's.
pub(crate) const TWO: u8 = 22;

/// Every story behind every gateway that it is told of, the slowest families first so that they do not stand alone at the end.
pub fn all() -> Vec<Story> {
    let families = [
        overload::all(),
        restarting::all(),
        runtimes::all(),
        checks::all(),
        lookalike::all(),
        network::all(),
        down::all(),
        agreement::all(),
        blind::all(),
        application::all(),
        gateway_side::all(),
        leadership::all(),
        clocks::all(),
    ];
    let written = families.concat();
    let over_ipv6 =
        written.iter().filter(|story| OVER_IPV6.contains(&story.name.as_str())).cloned().map(Story::over_ipv6);
    let over_ipv6: Vec<Story> = over_ipv6.collect();
    written.into_iter().chain(over_ipv6).flat_map(Story::spread).collect()
}

/// The story of a name, written or drawn.
pub fn named(name: &str) -> Option<Story> {
    wild::named(name).or_else(|| all().into_iter().find(|story| story.name == name))
}

/// Takes back the first application's faults and starts it anew.
pub(crate) fn start_again(world: &mut World) -> Done {
    world.faults("app-1", &serde_json::json!({}))?;
    world.stop_app("app-1")?;
    world.start_app("app-1")
}

/// Takes back the first application's faults.
pub(crate) fn behave(world: &mut World) -> Done {
    world.faults("app-1", &serde_json::json!({}))
}

/// A rule of the first application's host for packets to its port, put in or taken out.
pub(crate) fn rule(world: &mut World, action: &str, target: &str) -> Done {
    let iptables = if world.plan.ipv6() { "ip6tables" } else { "iptables" };
    world.run("app-1", &format!("{iptables} -w {action} INPUT ! -i lo -p tcp --dport 3000 -j {target}"))
}

/// Whether a story belongs to the short matrix, which is the same each time: stories behind the gateway they were written for
/// but those that another one nearly tells, and of the other gateways what their words differ most in.
pub fn is_short(story: &Story) -> bool {
    const ELSEWHERE: [&str; 3] = ["killed", "firewall_drop", "unavailable"];
    const LONG: [&str; 35] = [
        "crashed_by_signal",
        "hung_waiting",
        "hung_agent_told_late",
        "firewall_drop_for_a_while",
        "hung_for_a_while",
        "killed_and_restarted",
        "reset_before_answer",
        "packet_loss",
        "deploy_of_another",
        "header_too_big_without_agent",
        "large_answers_lost_without_agent",
        "unhandled_exception",
        "plain_behind_tls",
        "tls_behind_plain",
        "cpu_hog_beside_healthy",
        "socket_left_behind",
        "socket_forbidden",
        "gateway_out_of_connections",
        "clients_do_not_wait",
        "leader_elsewhere",
        "two_leaders",
        "no_leader",
        "liveness_restart",
        "killed_clock_behind",
        "killed_gateway_clock_ahead",
        "killed_clock_set_forward",
        "killed_clock_of_yesterday",
        "php_pool_exhausted",
        "uwsgi_pool_exhausted",
        "puma_worker_killed",
        "puma_pool_exhausted",
        "hung_waiting_ipv6",
        "firewall_reject_ipv6",
        "firewall_reject_icmp_ipv6",
        "host_down_ipv6",
    ];
    match story.name.split_once('@') {
        Some((name, _)) => ELSEWHERE.contains(&name),
        None => !LONG.contains(&story.name.as_str()),
    }
}
