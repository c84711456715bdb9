//! Masters with their workers, and connections that are kept.

use std::time::Duration;

use serde_json::json;

use super::{Ailment, Scope, behave, pick};
use crate::lab::plan::{App, Gateway, Kind, Runtime};
use crate::lab::world::World;
use crate::lab::{Done, plan::Plan};

pub(super) fn all() -> Vec<Ailment> {
    vec![crowd(), harakiri(), race()]
}

const PHP: [&str; 5] = [
    "pm = dynamic",
    "pm.max_children = 2",
    "pm.start_servers = 1",
    "pm.min_spare_servers = 1",
    "pm.max_spare_servers = 1",
];

/// Two workers, or threads, and no more.
fn two_workers(plan: &mut Plan, place: usize, _: u64) {
    let app = &mut plan.apps[place];
    app.arguments = match app.runtime {
        Runtime::PhpFpm => PHP.to_vec(),
        Runtime::Uwsgi => vec!["--processes", "2"],
        Runtime::Puma => vec!["--threads", "2:2"],
        _ => vec!["--workers", "2"],
    };
    plan.gateway.read_s = 3;
}

fn steady(world: &mut World) -> Done {
    world.client()?.change(|traffic| (traffic.every, traffic.burst) = (Duration::from_millis(80), 1));
    Ok(())
}

/// Requests come in bursts that two workers can't serve in time; between bursts they catch up.
fn crowd() -> Ailment {
    Ailment {
        fits: |gateway, app| {
            let has_workers =
                matches!(app.runtime, Runtime::PhpFpm | Runtime::Uwsgi | Runtime::Puma | Runtime::Gunicorn);
            has_workers && !gateway.is_tcp
        },
        scope: Scope::All,
        prepare: two_workers,
        heal: |world, host, n| {
            steady(world)?;
            behave(world, host, n)
        },
        ..Ailment::new("crowd", "worker_pool_exhausted", |world, host, n| {
            world.faults(host, &json!({ "slow": { "path": "/", "ms": 1100 + n % 300 } }))?;
            world.client()?.change(|traffic| (traffic.every, traffic.burst) = (Duration::from_secs(5), 12));
            Ok(())
        })
    }
}

/// A request now and then takes longer than the master allows.
fn harakiri() -> Ailment {
    Ailment {
        fits: |gateway, app| matches!(app.runtime, Runtime::PhpFpm | Runtime::Uwsgi) && !gateway.is_tcp,
        scope: Scope::All,
        prepare: |plan, place, _| {
            let app = &mut plan.apps[place];
            app.arguments = match app.runtime {
                Runtime::PhpFpm => vec!["pm = static", "pm.max_children = 4", "request_terminate_timeout = 2s"],
                _ => vec!["--processes", "4", "--harakiri", "2"],
            };
            plan.gateway.read_s = 10;
            plan.traffic.paths = vec!["/", "/items/1", "/items/2", "/items/3", "/items/4", "/items/5", "/export"];
            plan.traffic.every = plan.traffic.every.max(Duration::from_millis(200));
        },
        heal: behave,
        ..Ailment::new("harakiri", "worker_killed", |world, host, _| {
            world.faults(host, &json!({ "hang": { "path": "/export" } }))
        })
    }
}

/// Whether a gateway uses connections again and leaves it to its people that one was closed meanwhile.
fn keeps(gateway: &Gateway, app: &App) -> bool {
    matches!(gateway.kind, Kind::Nginx | Kind::Envoy | Kind::Apache)
        && gateway.protocol == "http"
        && super::is_node(app)
}

/// The application closes what was idle for as long as requests are apart.
fn race() -> Ailment {
    const IDLE_MS: [u64; 3] = [1500, 2000, 2500];
    Ailment {
        fits: keeps,
        scope: Scope::All,
        prepare: |plan, place, n| {
            plan.apps[place] = plan.apps[place].clone().env("REAP_IDLE_MS", pick(&IDLE_MS, n));
            (plan.gateway.keepalive, plan.gateway.retries, plan.gateway.check) = (32, false, None);
        },
        heal: |world, host, n| {
            steady(world)?;
            behave(world, host, n)
        },
        ..Ailment::new("race", "keepalive_race", |world, host, n| {
            world.faults(host, &json!({ "blips": { "every_ms": 410, "ms": 300 } }))?;
            let every = Duration::from_millis(pick(&IDLE_MS, n) - 2);
            world.client()?.change(|traffic| (traffic.method, traffic.every, traffic.burst) = ("POST", every, 32));
            Ok(())
        })
    }
}
