//! Red herrings: something else happens beside the true cause, or nothing happened at all.

use serde_json::json;

use super::{ONE, TWO, rule, start_again};
use crate::lab::Done;
use crate::lab::cgroup::Limits;
use crate::lab::plan::Plan;
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;
use crate::lab::{ask, wait_for};

pub(super) fn all() -> Vec<Story> {
    vec![
        nothing_happens(),
        other_process_out_of_memory(),
        crash_beside_other_out_of_memory(),
        cpu_hog_beside_healthy(),
        anothers_502_in_the_log(),
        two_at_once(),
        restarted_by_operator(),
        clients_unharmed(),
        plain_log(),
        deploy_of_another(),
        crash_beside_slow_page(),
    ]
}

/// A program in a group of its own eats memory until the kernel ends it.
fn other_runs_out_of_memory(world: &mut World, host: &str) -> Done {
    let command = "python3 -c 'x=[]\nwhile True: x.append(bytearray(1<<20))'";
    world.start_other(host, "batch", command, Limits::memory(48))
}

/// Missing pages, slow pages, clients that go away, errors in a log: nobody's business here.
fn nothing_happens() -> Story {
    Story::new("nothing_happens").fault(|world| {
        world.faults("app-1", &json!({ "slow": { "path": "/report", "ms": 900 } }))?;
        world
            .client()?
            .change(|traffic| traffic.paths = vec!["/", "/report", "/items/8", "/a?error=502%20Bad%20Gateway"]);
        world.start_other("app-2", "hog", "while :; do :; done", Limits::cpu(200))
    })
}

fn other_process_out_of_memory() -> Story {
    Story::new("other_process_out_of_memory")
        .needs(&["cgroups", "iptables", "python3"])
        .expect(Expect::new("firewall_drop", "app-1", ONE).cites(&["listen"]).advises(&["rule|firewall"]))
        .fault(|world| {
            other_runs_out_of_memory(world, "app-1")?;
            rule(world, "-A", "DROP")
        })
        .heal(|world| rule(world, "-D", "DROP"))
}

fn crash_beside_other_out_of_memory() -> Story {
    Story::new("crash_beside_other_out_of_memory")
        .needs(&["cgroups", "python3"])
        .expect(Expect::new("process_crashed", "app-1", ONE).cites(&["exit code 3|code 3"]).advises(&["restart"]))
        .fault(|world| {
            other_runs_out_of_memory(world, "app-1")?;
            world.faults("app-1", &json!({ "exit": 3 }))
        })
        .heal(start_again)
}

fn cpu_hog_beside_healthy() -> Story {
    Story::new("cpu_hog_beside_healthy")
        .needs(&["cgroups"])
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["signal 9|sigkill"]).advises(&["kill"]))
        .fault(|world| {
            world.start_other("app-2", "hog", "while :; do :; done", Limits::cpu(500))?;
            world.signal_app("app-1", "SIGKILL")
        })
        .heal(start_again)
}

fn anothers_502_in_the_log() -> Story {
    Story::new("anothers_502_in_the_log")
        .needs(&["iptables"])
        .expect(Expect::new("firewall_reject", "app-1", ONE).cites(&["refused", "listen"]).advises(&["rule|firewall"]))
        .fault(|world| {
            let line = "ERROR payments: upstream answered 502 Bad Gateway, connect() failed (111: Connection refused)";
            world.faults("app-1", &json!({ "log": [line, line, line] }))?;
            world.faults("app-2", &json!({ "log": [line, line, line] }))?;
            rule(world, "-A", "REJECT --reject-with tcp-reset")
        })
        .heal(|world| rule(world, "-D", "REJECT --reject-with tcp-reset"))
}

fn two_at_once() -> Story {
    Story::new("two_at_once")
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["signal 9|sigkill"]))
        .expect(Expect::new("process_hung", "app-2", TWO).cites(&["stopped|sigstop"]))
        .fault(|world| {
            world.signal_app("app-2", "SIGSTOP")?;
            world.signal_app("app-1", "SIGKILL")
        })
        .heal(|world| {
            world.signal_app("app-2", "SIGCONT")?;
            start_again(world)
        })
}

/// The restart is somebody's answer to the failures, not what caused them.
fn restarted_by_operator() -> Story {
    Story::new("restarted_by_operator")
        .needs(&["iptables"])
        .expect(Expect::new("firewall_drop", "app-1", ONE).advises(&["rule|firewall"]))
        .fault(|world| {
            rule(world, "-A", "DROP")?;
            let limit = std::time::Duration::from_secs(15);
            wait_for("an incident opens", limit, || ask::incidents().ok().filter(|all| !all.is_empty()))?;
            world.stop_app("app-1")?;
            world.start_app("app-1")?;
            world.wait_logged("app-1", "listening", 2)
        })
        .heal(|world| rule(world, "-D", "DROP"))
}

/// nginx gives the request to another member; the failure still counts.
fn clients_unharmed() -> Story {
    Story::new("clients_unharmed")
        .plan(Plan::default().gateway(|gateway| gateway.retries = true))
        .clients_unharmed()
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["signal 9|sigkill"]))
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
        .heal(start_again)
}

/// The other instance is being deployed while this one is killed.
fn deploy_of_another() -> Story {
    Story::new("deploy_of_another")
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["signal 9|sigkill"]).advises(&["kill"]))
        .fault(|world| {
            world.ask(&["mark", "deploy", "--service", "shop", "--version", "43", "--host", "app-2"])?;
            world.signal_app("app-1", "SIGKILL")
        })
        .heal(start_again)
}

/// One instance ends by itself; the other is well but for a page that is slower than the gateway waits.
fn crash_beside_slow_page() -> Story {
    Story::new("crash_beside_slow_page")
        .expect(Expect::new("process_crashed", "app-1", ONE).cites(&["exit code 3|code 3"]).advises(&["restart"]))
        .expect(Expect::new("gateway_timeout", "app-2", TWO).cites(&["/report"]))
        .fault(|world| {
            world.faults("app-2", &json!({ "slow": { "path": "/report", "ms": 8000 } }))?;
            world.client()?.change(|traffic| traffic.paths = vec!["/", "/items/7", "/items/8", "/report", "/items/9"]);
            world.faults("app-1", &json!({ "exit": 3 }))
        })
        .heal(|world| {
            world.faults("app-2", &json!({}))?;
            start_again(world)
        })
}

/// nginx's own access format names no upstream: its error log has to.
fn plain_log() -> Story {
    Story::new("plain_log")
        .plan(Plan::default().gateway(|gateway| gateway.plain_log = true))
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["signal 9|sigkill"]))
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
        .heal(start_again)
}
