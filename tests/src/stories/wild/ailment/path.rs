//! Ways that are cut for some packets only, or on the gateway's own host.

use super::{Ailment, number};
use crate::lab::Done;
use crate::lab::world::World;

pub(super) fn all() -> Vec<Ailment> {
    vec![
        Ailment {
            needs: &["iptables"],
            fits: |_, _| true,
            // Nobody without rights sees the rule, and the host answers that gateway nothing at all.
            expects: |ailment, _, place, _| vec![ailment.expected(place).or(&["path_unreachable"])],
            heal: |world, host, _| dark(world, "-D", host),
            ..Ailment::new("dark", "firewall_drop", |world, host, _| dark(world, "-A", host))
        },
        Ailment {
            needs: &["iptables"],
            fits: |_, _| true,
            heal: |world, host, _| reject(world, "-D", host),
            ..Ailment::new("ownreject", "firewall_reject", |world, host, _| reject(world, "-A", host))
        },
        Ailment {
            needs: &["iptables"],
            fits: |_, _| true,
            // From outside the application's answers are lost as by one that gives none.
            expects: |ailment, _, place, _| vec![ailment.expected(place).or(&["unknown"])],
            heal: |world, host, _| large(world, "-D", host),
            ..Ailment::new("blackhole", "packet_loss", |world, host, _| large(world, "-A", host))
        },
    ]
}

/// Everything from the gateway's host, whatever it is.
fn dark(world: &mut World, action: &str, host: &str) -> Done {
    world.run(host, &format!("iptables -w {action} INPUT -s 10.50.0.10 -j DROP"))
}

/// On the gateway's host itself.
fn reject(world: &mut World, action: &str, host: &str) -> Done {
    let at = number(world, host)?;
    world.run("lb-1", &format!("iptables -w {action} OUTPUT -d 10.50.0.{at} -p tcp --dport 3000 -j REJECT"))
}

/// Connections come about, and no packet as large as an answer arrives.
fn large(world: &mut World, action: &str, host: &str) -> Done {
    let packets = "OUTPUT ! -o lo -p tcp --sport 3000 -m length --length 120:65535";
    world.run(host, &format!("iptables -w {action} {packets} -j DROP"))
}
