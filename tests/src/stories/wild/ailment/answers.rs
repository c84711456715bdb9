//! Applications that answer, and answer badly.

use std::time::Duration;

use serde_json::json;

use super::{Ailment, behave, pick};
use crate::lab::Done;
use crate::lab::plan::{App, Gateway, Runtime};
use crate::lab::world::World;

pub(super) fn all() -> Vec<Ailment> {
    [bad(), reasoned()].into_iter().flatten().collect()
}

/// Those that can be told what to answer.
fn answers_so(_: &Gateway, app: &App) -> bool {
    app.runtime != Runtime::Puma
}

fn bad() -> Vec<Ailment> {
    vec![
        Ailment {
            fits: answers_so,
            told_by_gateway: true,
            heal: behave,
            ..Ailment::new("503", "app_unavailable", |world, host, _| {
                world.faults(host, &json!({ "answer": { "status": 503, "body": "{}" } }))
            })
        },
        Ailment {
            fits: answers_so,
            told_by_gateway: true,
            heal: behave,
            ..Ailment::new("5xx", "app_error", |world, host, n| {
                world.faults(host, &json!({ "answer": { "status": pick(&[500, 501, 502, 507], n), "body": "{}" } }))
            })
        },
        Ailment {
            prepare: |plan, _, _| plan.gateway.keepalive = 0,
            heal: behave,
            ..Ailment::new("close", "premature_close", |world, host, n| {
                world.faults(host, &json!({ "close": pick(&["before", "reset"], n) }))
            })
        },
        Ailment {
            told_by_gateway: true,
            // Only such a request is repeated to see what its answer has.
            prepare: |plan, _, _| plan.traffic.method = "GET",
            heal: behave,
            ..Ailment::new("header", "header_too_big", |world, host, _| {
                world.faults(host, &json!({ "header_bytes": 20000 }))
            })
        },
        Ailment {
            heal: |world, host, n| {
                world.client()?.change(|traffic| traffic.paths = vec!["/", "/items/7", "/items/8"]);
                behave(world, host, n)
            },
            ..Ailment::new("report", "gateway_timeout", |world, host, n| {
                world.faults(host, &json!({ "slow": { "path": "/report", "ms": 8000 + n % 4000 } }))?;
                world.client()?.change(|traffic| {
                    traffic.paths = vec!["/", "/items/7", "/items/8", "/report", "/items/9"];
                    traffic.every = traffic.every.min(Duration::from_millis(80));
                });
                Ok(())
            })
        },
    ]
}

/// A 503 whose reason stands in the application's log alone.
fn reasoned() -> Vec<Ailment> {
    fn turn_away(world: &mut World, host: &str, reason: &str) -> Done {
        world.faults(host, &json!({ "answer": { "status": 503, "body": "{}", "log": reason } }))
    }
    fn has_log(_: &Gateway, app: &App) -> bool {
        app.runtime == Runtime::Node && app.told.log
    }
    vec![
        Ailment {
            fits: has_log,
            heal: behave,
            ..Ailment::new("leader", "app_not_leader", |world, host, n| {
                const SAYS: [&str; 3] = [
                    "rejecting request: this node is not the leader",
                    "could not acquire lock orders-writer, held by another instance",
                    "NotLeaderError: standby cannot take writes",
                ];
                turn_away(world, host, pick(&SAYS, n))
            })
        },
        Ailment {
            fits: has_log,
            heal: behave,
            ..Ailment::new("task", "app_task_timeout", |world, host, n| {
                const SAYS: [&str; 3] = [
                    "job rebuild-index timed out after 20000ms",
                    "TimeoutError: task export-orders exceeded its deadline of 15s",
                    "background task did not finish in time: timeout",
                ];
                turn_away(world, host, pick(&SAYS, n))
            })
        },
        Ailment {
            fits: has_log,
            heal: behave,
            ..Ailment::new("cache", "app_cache_failure", |world, host, n| {
                const SAYS: [&str; 3] = [
                    "redis: connection lost, cannot serve from cache",
                    "memcached error: SERVER_ERROR out of memory storing object",
                    "Error connecting to cache server 10.50.0.40:11211: Connection timed out",
                ];
                turn_away(world, host, pick(&SAYS, n))
            })
        },
    ]
}
