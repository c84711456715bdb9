//! Instances that have too much to do, or too little to do it with.

use std::time::Duration;

use serde_json::json;

use super::{ONE, behave, start_again};
use crate::lab::Doing;
use crate::lab::cgroup::Limits;
use crate::lab::plan::{App, Kind, Plan};
use crate::lab::story::{Expect, Story, THROTTLE};

pub(super) fn all() -> Vec<Story> {
    vec![
        cpu_throttled(),
        accept_queue_overflow(),
        fd_exhausted(),
        worker_pool_exhausted(),
        disk_full(),
        disk_stalled(),
        ports_exhausted(),
    ]
}

/// Each request needs 15 ms of CPU, a hundred and fifty a second; then the quota is cut to thirty.
fn cpu_throttled() -> Story {
    Story::new("cpu_throttled")
        .needs(&["cgroups"])
        .plan(Plan::default().first(|app| app.env("WORK_MS", 15)))
        .expect(Expect::new("cpu_throttled", "app-1", ONE).cites(&["throttled"]).advises(&["quota"]))
        .fault(|world| world.limit_app("app-1", Limits::cpu(30)))
        .heal(|world| {
            world.limit_app("app-1", Limits::cpu(2000))?;
            start_again(world)
        })
}

/// One worker takes a second and a half for each request; two may wait.
fn accept_queue_overflow() -> Story {
    let mut plan = Plan::default();
    plan.apps[0] = App::gunicorn("app-1", ONE, &["--workers", "1", "--backlog", "2"]);
    Story::new("accept_queue_overflow")
        .needs(&["gunicorn"])
        .plan(plan)
        .expect(Expect::new("accept_queue_overflow", "app-1", ONE).cites(&["queue"]).advises(&["backlog"]))
        .fault(|world| world.faults("app-1", &json!({ "slow": { "path": "/", "ms": 1500 } })))
        .heal(behave)
}

fn fd_exhausted() -> Story {
    Story::new("fd_exhausted")
        .everywhere()
        .plan(Plan::default().first(|app| App { nofile: Some(128), ..app }))
        .expect(
            Expect::new("fd_exhausted", "app-1", ONE)
                .cites(&["128|too many open files"])
                .advises(&["limitnofile|descriptor"]),
        )
        .fault(|world| world.faults("app-1", &json!({ "leak_fds": true })))
        .heal(start_again)
}

/// Each order is written down, until the disk that they are kept on is full.
fn disk_full() -> Story {
    Story::new("disk_full")
        .everywhere()
        .plan(Plan::default().first(|app| App { disk_kib: Some(256), ..app }))
        .expect(Expect::new("disk_full", "app-1", ONE).cites(&["space|full"]).advises(&["space|rotat"]))
        .fault(|world| {
            let orders = world.dir_of("app-1").join("disk/orders");
            world.faults("app-1", &json!({ "write": orders }))
        })
        .heal(behave)
}

/// Each request reads 16 KiB past the page cache; then the disk gives a kilobyte a second.
fn disk_stalled() -> Story {
    let mut plan = Plan::default();
    plan.apps[0] = App::gunicorn("app-1", ONE, &["--workers", "2"]);
    Story::new("disk_stalled")
        .everywhere()
        .needs(&["gunicorn", THROTTLE])
        .plan(plan)
        .expect(Expect::new("io_stalled", "app-1", ONE).cites(&["device"]).advises(&["device|disk"]))
        .fault(|world| {
            let prices = world.dir_of("app-1").join("prices");
            std::fs::write(&prices, [b'7'; 16 << 10]).doing("prices")?;
            world.limit_app("app-1", Limits::reads(1024))?;
            world.faults("app-1", &json!({ "read": prices }))
        })
        .heal(|world| {
            world.limit_app("app-1", Limits::reads(0))?;
            behave(world)
        })
}

/// The gateway's host has forty ports to call from, and each call keeps one for a minute.
fn ports_exhausted() -> Story {
    let plan = Plan { apps: vec![App::node("app-1", ONE)], ..Plan::default() };
    Story::new("ports_exhausted")
        .also(&[Kind::Envoy, Kind::Apache, Kind::Caddy])
        .plan(plan)
        .expect(
            Expect::new("ephemeral_ports_exhausted", "app-1", ONE)
                .cites(&["port|cannot assign"])
                .advises(&["ip_local_port_range|keep-alive|keepalive"]),
        )
        .fault(|world| world.shell("lb-1", "echo 41000 41039 > /proc/sys/net/ipv4/ip_local_port_range"))
        .heal(|world| world.shell("lb-1", "echo 20000 60999 > /proc/sys/net/ipv4/ip_local_port_range"))
}

fn worker_pool_exhausted() -> Story {
    let mut plan = Plan::default();
    plan.apps[0] = App::gunicorn("app-1", ONE, &["--workers", "2"]);
    let story = Story::new("worker_pool_exhausted")
        .everywhere()
        .needs(&["gunicorn"])
        .plan(plan)
        .expect(Expect::new("worker_pool_exhausted", "app-1", ONE).cites(&["wait|queue"]).advises(&["worker"]));
    in_bursts(story)
}

/// Requests come in bursts that two workers can't serve in time; between bursts they catch up.
pub(super) fn in_bursts(story: Story) -> Story {
    story
        .fault(|world| {
            world.faults("app-1", &json!({ "slow": { "path": "/", "ms": 1200 } }))?;
            world.client()?.change(|traffic| (traffic.every, traffic.burst) = (Duration::from_secs(5), 12));
            Ok(())
        })
        .heal(|world| {
            world.client()?.change(|traffic| (traffic.every, traffic.burst) = (Duration::from_millis(50), 1));
            behave(world)
        })
}
