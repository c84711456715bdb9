//! What can be said when somebody who knows more does not report: no agent there, or one that is cut off and comes back late.

use serde_json::json;

use super::{ONE, behave, rule, start_again};
use crate::lab::Done;
use crate::lab::plan::{App, Plan};
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;

pub(super) fn all() -> Vec<Story> {
    vec![
        unknown_without_agent(),
        firewall_without_agent(),
        header_too_big_without_agent(),
        large_answers_lost_without_agent(),
        agent_told_late(),
        hung_agent_told_late(),
    ]
}

/// The first application's host has no agent.
fn blind() -> Plan {
    Plan::default().first(|app| App { has_agent: false, ..app })
}

/// Refused, and nobody on that host who could say why.
fn unknown_without_agent() -> Story {
    Story::new("unknown_without_agent")
        .everywhere()
        .plan(blind())
        .expect(Expect::new("unknown", "", ONE).cites(&["refused|connect_failed"]).misses(&["agent"]))
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
        .heal(start_again)
}

/// Silent to connects: a rule, a full queue, a dead host look the same from here.
fn firewall_without_agent() -> Story {
    Story::new("firewall_without_agent")
        .needs(&["iptables"])
        .plan(blind())
        .expect(Expect::new("unknown", "", ONE).misses(&["agent"]))
        .fault(|world| rule(world, "-A", "DROP"))
        .heal(|world| rule(world, "-D", "DROP"))
}

/// The gateway says it all by itself.
fn header_too_big_without_agent() -> Story {
    Story::new("header_too_big_without_agent")
        .plan(blind())
        .expect(Expect::new("header_too_big", "", ONE).cites(&["too big"]).advises(&["proxy_buffer_size"]))
        .fault(|world| world.faults("app-1", &json!({ "header_bytes": 20000 })))
        .heal(behave)
}

/// The application goes on answering, with more than the way lets through in one packet.
fn large_answers_lost_without_agent() -> Story {
    Story::new("large_answers_lost_without_agent")
        .needs(&["iptables"])
        .plan(blind())
        .expect(
            Expect::new("packet_loss", "", ONE)
                .cites(&["packets of at most 536 bytes"])
                .advises(&["mtu"])
                .misses(&["agent"]),
        )
        .fault(|world| {
            world.faults("app-1", &json!({ "answer": { "status": 200, "body": "x".repeat(3000) } }))?;
            // Each packet by itself, as on a wire: else the rule meets several put together, whatever their size.
            world.run("app-1", "ip link set eth0 gso_max_segs 1")?;
            large(world, "-A")
        })
        .heal(|world| {
            large(world, "-D")?;
            behave(world)
        })
}

fn large(world: &mut World, action: &str) -> Done {
    world.run(
        "app-1",
        &format!("iptables -w {action} OUTPUT ! -o lo -p tcp --sport 3000 -m length --length 1000: -j DROP"),
    )
}

/// The host's agent is cut off when the application is killed: nobody can tell, until it is back.
fn agent_told_late() -> Story {
    Story::new("agent_told_late")
        .plan(Plan { management: true, ..Plan::default() })
        .told_late()
        .until_then(Expect::new("unknown", "", ONE).cites(&["refused"]).misses(&["agent|silent"]))
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["sigkill|signal 9"]).advises(&["kill"]))
        .fault(|world| {
            world.management_cable("app-1", false)?;
            world.signal_app("app-1", "SIGKILL")
        })
        .heal(|world| {
            world.management_cable("app-1", true)?;
            start_again(world)
        })
}

/// The same with a process that stands still.
fn hung_agent_told_late() -> Story {
    Story::new("hung_agent_told_late")
        .plan(Plan { management: true, ..Plan::default() })
        .told_late()
        .expect(
            Expect::new("process_hung", "app-1", ONE).cites(&["stopped|sigstop"]).advises(&["sigcont|sigstop|stopped"]),
        )
        .fault(|world| {
            world.management_cable("app-1", false)?;
            world.signal_app("app-1", "SIGSTOP")
        })
        .heal(|world| {
            world.management_cable("app-1", true)?;
            world.signal_app("app-1", "SIGCONT")
        })
}
