//! Instances that work and can't be reached.

use super::{ONE, rule};
use crate::lab::Done;
use crate::lab::cgroup::Limits;
use crate::lab::plan::Plan;
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;

pub(super) fn all() -> Vec<Story> {
    vec![
        firewall_reject(),
        firewall_reject_icmp(),
        firewall_drop(),
        firewall_drop_for_a_while(),
        packet_loss(),
        no_route(),
        link_down(),
        link_down_told_late(),
    ]
}

fn firewall_reject() -> Story {
    Story::new("firewall_reject")
        .everywhere()
        .needs(&["iptables"])
        .expect(
            Expect::new("firewall_reject", "app-1", ONE)
                .cites(&["refused|connect_failed", "listen"])
                .advises(&["rule|firewall|iptables"]),
        )
        .fault(|world| rule(world, "-A", "REJECT --reject-with tcp-reset"))
        .heal(|world| rule(world, "-D", "REJECT --reject-with tcp-reset"))
}

/// iptables' default answer is an ICMP message that the kernel sends at a limited rate: refusals mixed with silence.
fn firewall_reject_icmp() -> Story {
    Story::new("firewall_reject_icmp")
        .needs(&["iptables"])
        .expect(Expect::new("firewall_reject", "app-1", ONE).cites(&["listen"]).advises(&["rule|firewall|iptables"]))
        .fault(|world| rule(world, "-A", "REJECT"))
        .heal(|world| rule(world, "-D", "REJECT"))
}

fn firewall_drop() -> Story {
    Story::new("firewall_drop")
        .everywhere()
        .needs(&["iptables"])
        .expect(Expect::new("firewall_drop", "app-1", ONE).cites(&["listen"]).advises(&["rule|firewall|iptables"]))
        .fault(|world| rule(world, "-A", "DROP"))
        .heal(|world| rule(world, "-D", "DROP"))
}

/// The rule is gone before anybody looked.
fn firewall_drop_for_a_while() -> Story {
    Story::new("firewall_drop_for_a_while")
        .needs(&["iptables"])
        .expect(Expect::new("firewall_drop", "app-1", ONE).cites(&["listen"]).advises(&["rule|firewall|iptables"]))
        .fault(|world| {
            rule(world, "-A", "DROP")?;
            let mend = "sleep 8; iptables -w -D INPUT ! -i lo -p tcp --dport 3000 -j DROP";
            world.start_other("app-1", "mend", mend, Limits::default())
        })
}

/// Half of the packets from and to the application are lost.
fn packet_loss() -> Story {
    Story::new("packet_loss")
        .needs(&["iptables"])
        .expect(Expect::new("packet_loss", "app-1", ONE).advises(&["mtu|path|interface"]))
        .fault(|world| lossy(world, "-A"))
        .heal(|world| lossy(world, "-D"))
}

fn lossy(world: &mut World, action: &str) -> Done {
    let chance = "-m statistic --mode random --probability 0.5 -j DROP";
    world.run("app-1", &format!("iptables -w {action} INPUT ! -i lo -p tcp --dport 3000 {chance}"))?;
    world.run("app-1", &format!("iptables -w {action} OUTPUT ! -o lo -p tcp --sport 3000 {chance}"))
}

/// The gateway's host has lost its way to the instance.
fn no_route() -> Story {
    Story::new("no_route")
        .everywhere()
        .expect(Expect::new("no_route", "app-1", ONE).cites(&["route"]).advises(&["route"]))
        .fault(|world| world.run("lb-1", "ip route add unreachable 10.50.0.21/32"))
        .heal(|world| world.run("lb-1", "ip route del unreachable 10.50.0.21/32"))
}

/// The host's agent still reports, over the management network.
fn link_down() -> Story {
    Story::new("link_down")
        .everywhere()
        .plan(Plan { management: true, ..Plan::default() })
        .expect(Expect::new("link_down", "app-1", ONE).cites(&["eth0"]).advises(&["cable|interface|eth0"]))
        .fault(|world| world.cable("app-1", false))
        .heal(|world| world.cable("app-1", true))
}

/// The host has one network only: its agent is silent, and tells when it is back.
fn link_down_told_late() -> Story {
    Story::new("link_down_told_late")
        .told_late()
        .expect(Expect::new("link_down", "app-1", ONE).cites(&["eth0"]).advises(&["cable|interface|eth0"]))
        .fault(|world| world.cable("app-1", false))
        .heal(|world| world.cable("app-1", true))
}
