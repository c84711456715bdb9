//! Instances that are down or do not answer.

use serde_json::json;

use super::{ONE, TWO, UNCHECKED, start_again};
use crate::lab::cgroup::Limits;
use crate::lab::plan::{App, Kind, Plan};
use crate::lab::story::{Expect, Story};
use crate::lab::world::upstream;

pub(super) fn all() -> Vec<Story> {
    vec![
        crashed_by_signal(),
        crashed_by_exception(),
        killed(),
        stopped(),
        never_started(),
        out_of_memory(),
        hung_by_stop(),
        hung_in_a_loop(),
        hung_waiting(),
        event_loop_blocked(),
        hung_for_a_while(),
        killed_and_restarted(),
        bound_to_loopback(),
        host_down(),
        worker_killed(),
        wrong_upstream(),
    ]
}

fn crashed_by_signal() -> Story {
    Story::new("crashed_by_signal")
        .everywhere()
        .expect(
            Expect::new("process_crashed", "app-1", ONE)
                .cites(&["sigsegv|signal 11", "refused|connect_failed"])
                .advises(&["restart", "core"]),
        )
        .fault(|world| world.faults("app-1", &json!({ "signal": "SIGSEGV" })))
        .heal(start_again)
}

fn crashed_by_exception() -> Story {
    Story::new("crashed_by_exception")
        .everywhere()
        .expect(
            Expect::new("process_crashed", "app-1", ONE)
                .cites(&["exit code 1|code 1", "price list is empty"])
                .advises(&["restart"]),
        )
        .fault(|world| world.faults("app-1", &json!({ "throw": "price list is empty" })))
        .heal(start_again)
}

fn killed() -> Story {
    Story::new("killed")
        .everywhere()
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["sigkill|signal 9"]).advises(&["kill"]))
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
        .heal(start_again)
}

fn stopped() -> Story {
    Story::new("stopped")
        .everywhere()
        .expect(Expect::new("process_stopped", "app-1", ONE).cites(&["exit"]).advises(&["start", "gateway|drain|edge"]))
        .fault(|world| world.stop_app("app-1"))
        .heal(start_again)
}

/// The gateway is told of a second member whose unit was never enabled.
fn never_started() -> Story {
    let mut plan = Plan::default().gateway(|gateway| gateway.members = vec![upstream(TWO)]);
    plan.apps[0].starts = false;
    Story::new("never_started")
        .also(&UNCHECKED)
        .plan(plan)
        .expect(Expect::new("never_started", "app-1", ONE).cites(&["no process"]).advises(&["enable|start"]))
        .fault(|world| world.reload_gateway(&[upstream(ONE), upstream(TWO)]))
        .heal(start_again)
}

fn out_of_memory() -> Story {
    let limits = Limits::memory(160);
    Story::new("out_of_memory")
        .everywhere()
        .needs(&["cgroups"])
        .plan(Plan::default().first(|app| App { limits, ..app }))
        .expect(
            Expect::new("oom_killed", "app-1", ONE)
                .cites(&["oom|out-of-memory|out of memory"])
                .advises(&["memory limit|memory.max|memory.limit|memorymax"]),
        )
        .fault(|world| world.faults("app-1", &json!({ "leak_mb_s": 200 })))
        .heal(start_again)
}

fn hung_by_stop() -> Story {
    Story::new("hung_by_stop")
        .everywhere()
        .expect(
            Expect::new("process_hung", "app-1", ONE).cites(&["stopped|sigstop"]).advises(&["sigcont|sigstop|stopped"]),
        )
        .fault(|world| world.signal_app("app-1", "SIGSTOP"))
        .heal(|world| world.signal_app("app-1", "SIGCONT"))
}

fn hung_in_a_loop() -> Story {
    Story::new("hung_in_a_loop")
        .everywhere()
        .expect(
            Expect::new("process_hung", "app-1", ONE)
                .cites(&["health", "not answered|no request was answered"])
                .advises(&["stack|liveness|restart"]),
        )
        .fault(|world| world.faults("app-1", &json!({ "spin": true })))
        .heal(|world| {
            world.faults("app-1", &json!({}))?;
            world.signal_app("app-1", "SIGKILL")?;
            world.start_app("app-1")
        })
}

/// Alive, idle, its health fine, and no request is ever answered.
fn hung_waiting() -> Story {
    Story::new("hung_waiting")
        .expect(Expect::new("process_hung", "app-1", ONE).advises(&["stack|liveness|restart"]))
        .fault(|world| world.faults("app-1", &json!({ "hang": true, "health": {} })))
        .heal(start_again)
}

/// A handler of uvicorn's sleeps without awaiting, and with it everything.
fn event_loop_blocked() -> Story {
    let mut plan = Plan::default();
    plan.apps[0] = App::uvicorn("app-1", ONE, &[]);
    Story::new("event_loop_blocked")
        .plan(plan)
        .expect(Expect::new("process_hung", "app-1", ONE).cites(&["health"]).advises(&["stack|liveness|restart"]))
        .fault(|world| world.faults("app-1", &json!({ "block": true })))
        .heal(start_again)
}

/// It goes on by itself after seven seconds.
fn hung_for_a_while() -> Story {
    Story::new("hung_for_a_while")
        .expect(Expect::new("process_hung", "app-1", ONE).advises(&["stack|liveness|restart"]))
        .fault(|world| world.faults("app-1", &json!({ "spin_ms": 7000 })))
        .heal(super::behave)
}

/// Its service manager has it back within two seconds; what killed it is still the news.
fn killed_and_restarted() -> Story {
    Story::new("killed_and_restarted")
        .plan(Plan::default().first(|app| App { restart_ms: Some(2000), ..app }))
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["sigkill|signal 9"]).advises(&["kill"]))
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
}

fn bound_to_loopback() -> Story {
    Story::new("bound_to_loopback")
        .also(&UNCHECKED)
        .expect(Expect::new("port_not_listening", "app-1", ONE).cites(&["127.0.0.1:3000"]).advises(&["bind|listen"]))
        .fault(|world| {
            world.stop_app("app-1")?;
            world.change_app("app-1", |app| *app = app.clone().env("BIND", "127.0.0.1"))?;
            world.start_app("app-1")
        })
        .heal(|world| {
            world.change_app("app-1", |app| app.env.clear())?;
            start_again(world)
        })
}

fn host_down() -> Story {
    Story::new("host_down")
        .also(&[Kind::Haproxy, Kind::Envoy, Kind::Apache, Kind::Caddy])
        .expect(Expect::new("host_down", "app-1", ONE).cites(&["was heard of app-1|silent"]).advises(&["host|power"]))
        .fault(|world| world.power_off("app-1"))
        .heal(|world| world.power_on("app-1"))
}

/// gunicorn's master kills a worker that worked for two seconds; nginx would have waited ten.
fn worker_killed() -> Story {
    let mut plan = Plan::default().gateway(|gateway| gateway.read_s = 10);
    plan.apps[0] = App::gunicorn("app-1", ONE, &["--workers", "3", "--timeout", "2"]);
    Story::new("worker_killed")
        .needs(&["gunicorn"])
        .plan(plan)
        .expect(Expect::new("worker_killed", "app-1", ONE).cites(&["worker timeout"]).advises(&["timeout"]))
        .fault(|world| {
            world.faults("app-1", &json!({ "hang": { "path": "/export" } }))?;
            world.client()?.change(|traffic| traffic.paths = vec!["/", "/items/7", "/items/8", "/items/9", "/export"]);
            world.client()?.change(|traffic| traffic.every = std::time::Duration::from_millis(250));
            Ok(())
        })
        .heal(super::behave)
}

fn wrong_upstream() -> Story {
    Story::new("wrong_upstream")
        .also(&UNCHECKED)
        .expect(Expect::new("wrong_upstream", "", 99).cites(&["10.50.0.99"]).advises(&["10.50.0.99:3000"]))
        .fault(|world| world.reload_gateway(&[upstream(99), upstream(TWO)]))
        .heal(|world| world.reload_gateway(&[upstream(ONE), upstream(TWO)]))
}
