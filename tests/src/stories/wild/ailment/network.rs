//! Applications that work and can't be reached.

use super::{Ailment, is_node, number, pick, start_again};
use crate::lab::Done;
use crate::lab::cgroup::Limits;
use crate::lab::plan::{App, Gateway, Kind};
use crate::lab::world::World;

fn rule(world: &mut World, action: &str, host: &str, n: u64) -> Done {
    const TARGETS: [&str; 4] = [
        "REJECT --reject-with tcp-reset",
        "REJECT --reject-with icmp-port-unreachable",
        "REJECT --reject-with icmp-host-prohibited",
        "REJECT --reject-with icmp-admin-prohibited",
    ];
    world.run(host, &format!("iptables -w {action} INPUT ! -i lo -p tcp --dport 3000 -j {}", pick(&TARGETS, n)))
}

/// On the application's host for all or for the gateway alone, or on the gateway's.
fn drop_rule(world: &mut World, action: &str, host: &str, n: u64) -> Done {
    let at = number(world, host)?;
    let (on, text) = match n % 3 {
        0 => (host, "INPUT ! -i lo -p tcp --dport 3000".to_owned()),
        1 => (host, "INPUT -s 10.50.0.10 -p tcp --dport 3000".to_owned()),
        _ => ("lb-1", format!("OUTPUT -d 10.50.0.{at} -p tcp --dport 3000")),
    };
    world.run(on, &format!("iptables -w {action} {text} -j DROP"))
}

fn route(world: &mut World, action: &str, host: &str) -> Done {
    let at = number(world, host)?;
    world.run("lb-1", &format!("ip route {action} unreachable 10.50.0.{at}/32"))
}

pub(super) fn all() -> Vec<Ailment> {
    [cut_off(), elsewhere(), passing()].into_iter().flatten().collect()
}

fn cut_off() -> Vec<Ailment> {
    let anywhere = |_: &Gateway, _: &App| true;
    vec![
        Ailment {
            needs: &["iptables"],
            fits: anywhere,
            heal: |world, host, n| rule(world, "-D", host, n),
            ..Ailment::new("reject", "firewall_reject", |world, host, n| rule(world, "-A", host, n))
        },
        Ailment {
            needs: &["iptables"],
            fits: anywhere,
            heal: |world, host, n| drop_rule(world, "-D", host, n),
            ..Ailment::new("drop", "firewall_drop", |world, host, n| drop_rule(world, "-A", host, n))
        },
        Ailment {
            fits: anywhere,
            told_by_gateway: true,
            heal: |world, host, _| route(world, "del", host),
            ..Ailment::new("route", "no_route", |world, host, _| route(world, "add", host))
        },
        Ailment {
            fits: anywhere,
            prepare: |plan, _, _| plan.management = true,
            heal: |world, host, _| world.cable(host, true),
            ..Ailment::new("cable", "link_down", |world, host, _| world.cable(host, false))
        },
    ]
}

fn rebind(world: &mut World, host: &'static str, key: &'static str, value: &str) -> Done {
    world.stop_app(host)?;
    world.change_app(host, |app| *app = app.clone().env(key, value))?;
    world.start_app(host)
}

/// It listens where its gateway does not look.
fn elsewhere() -> Vec<Ailment> {
    let moved = Ailment {
        fits: |gateway, app| is_node(app) && gateway.kind != Kind::Haproxy && gateway.check.is_none(),
        heal: |world, host, n| {
            world.change_app(host, |app| app.env.clear())?;
            start_again(world, host, n)
        },
        ..Ailment::new("loopback", "port_not_listening", |world, host, _| rebind(world, host, "BIND", "127.0.0.1"))
    };
    vec![
        Ailment {
            name: "port",
            fault: |world, host, n| rebind(world, host, "PORT", ["3001", "8080"][n as usize % 2]),
            ..moved.clone()
        },
        moved,
    ]
}

/// What is over before anybody looked.
fn passing() -> Vec<Ailment> {
    vec![
        Ailment {
            needs: &["iptables"],
            fits: |_, _| true,
            heal: |_, _, _| Ok(()),
            ..Ailment::new("dropped", "firewall_drop", |world, host, n| {
                drop_rule(world, "-A", host, 0)?;
                let mend = format!("sleep {}; iptables -w -D INPUT ! -i lo -p tcp --dport 3000 -j DROP", 6 + n % 6);
                world.start_other(host, "mend", &mend, Limits::default())
            })
        },
        Ailment {
            needs: &["iptables"],
            fits: |_, _| true,
            heal: |world, host, _| lossy(world, "-D", host),
            ..Ailment::new("loss", "packet_loss", |world, host, _| lossy(world, "-A", host))
        },
    ]
}

/// Half of the packets from and to the application are lost.
fn lossy(world: &mut World, action: &str, host: &str) -> Done {
    let chance = "-m statistic --mode random --probability 0.5 -j DROP";
    world.run(host, &format!("iptables -w {action} INPUT ! -i lo -p tcp --dport 3000 {chance}"))?;
    world.run(host, &format!("iptables -w {action} OUTPUT ! -o lo -p tcp --sport 3000 {chance}"))
}
