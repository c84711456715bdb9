//! Too much to do, or too little to do it with.

use std::time::Duration;

use serde_json::json;

use super::{Ailment, behave, start_again};
use crate::lab::cgroup::Limits;
use crate::lab::plan::{App, Gateway, Runtime};

pub(super) fn all() -> Vec<Ailment> {
    [shortages(), crowds()].into_iter().flatten().collect()
}

fn shortages() -> Vec<Ailment> {
    vec![
        Ailment {
            // What is connected already goes on being served.
            prepare: |plan, place, n| {
                plan.apps[place].nofile = Some(96 + n % 160);
                plan.gateway.keepalive = 0;
            },
            ..Ailment::new("fds", "fd_exhausted", |world, host, _| world.faults(host, &json!({ "leak_fds": true })))
        },
        Ailment {
            prepare: |plan, place, n| plan.apps[place].disk_kib = Some(128 + n % 384),
            heal: behave,
            ..Ailment::new("disk", "disk_full", |world, host, _| {
                let orders = world.dir_of(host).join("disk/orders");
                world.faults(host, &json!({ "write": orders }))
            })
        },
    ]
}

/// Requests come at least so often, for what only a load shows.
const BUSY: Duration = Duration::from_millis(50);

fn is_gunicorn(_: &Gateway, app: &App) -> bool {
    app.runtime == Runtime::Gunicorn
}

fn crowds() -> Vec<Ailment> {
    vec![
        Ailment {
            needs: &["cgroups"],
            prepare: |plan, place, n| {
                plan.apps[place] = plan.apps[place].clone().env("WORK_MS", 12 + n % 10);
                plan.traffic.every = plan.traffic.every.min(BUSY);
            },
            heal: |world, host, n| {
                world.limit_app(host, Limits::cpu(2000))?;
                start_again(world, host, n)
            },
            ..Ailment::new("quota", "cpu_throttled", |world, host, n| world.limit_app(host, Limits::cpu(20 + n % 15)))
        },
        Ailment {
            fits: is_gunicorn,
            prepare: |plan, place, _| {
                plan.apps[place].arguments = vec!["--workers", "1", "--backlog", "2"];
                plan.traffic.every = plan.traffic.every.min(BUSY);
            },
            heal: behave,
            ..Ailment::new("queue", "accept_queue_overflow", |world, host, n| {
                world.faults(host, &json!({ "slow": { "path": "/", "ms": 1200 + n % 800 } }))
            })
        },
        Ailment {
            fits: is_gunicorn,
            prepare: |plan, place, _| {
                plan.apps[place].arguments = vec!["--workers", "3", "--timeout", "2"];
                plan.gateway.read_s = 10;
                plan.traffic.paths = vec!["/", "/items/7", "/items/8", "/items/9", "/export"];
                plan.traffic.every = plan.traffic.every.max(Duration::from_millis(120));
            },
            heal: behave,
            ..Ailment::new("worker", "worker_killed", |world, host, _| {
                world.faults(host, &json!({ "hang": { "path": "/export" } }))
            })
        },
    ]
}
