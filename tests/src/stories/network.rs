//! Instances that work and can't be reached.

use super::{ONE, rule};
use crate::lab::plan::Plan;
use crate::lab::story::{Expect, Story};

pub(super) fn all() -> Vec<Story> {
    vec![firewall_reject(), firewall_reject_icmp(), firewall_drop(), link_down(), link_down_told_late()]
}

fn firewall_reject() -> Story {
    Story::new("firewall_reject")
        .needs(&["iptables"])
        .expect(
            Expect::new("firewall_reject", "app-1", ONE)
                .cites(&["refused", "listen"])
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
        .needs(&["iptables"])
        .expect(Expect::new("firewall_drop", "app-1", ONE).cites(&["listen"]).advises(&["rule|firewall|iptables"]))
        .fault(|world| rule(world, "-A", "DROP"))
        .heal(|world| rule(world, "-D", "DROP"))
}

/// The host's agent still reports, over the management network.
fn link_down() -> Story {
    Story::new("link_down")
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
