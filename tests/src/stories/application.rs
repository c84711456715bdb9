//! Answers that the application made, protocol quarrels, timeouts of an instance that works, and what nobody can know.

use std::time::Duration;

use serde_json::json;

use super::{ONE, behave, start_again};
use crate::lab::plan::{App, Gateway, Kind, Plan};
use crate::lab::story::{Expect, Story};

pub(super) fn all() -> Vec<Story> {
    vec![
        keepalive_race(),
        premature_close(),
        reset_before_answer(),
        header_too_big(),
        not_leader(),
        task_timeout(),
        cache_failure(),
        unavailable(),
        error(),
        gateway_timeout(),
        unknown_without_agent(),
        health_failing(),
        health_slow(),
    ]
}

/// The application closes connections that were idle for two seconds, nginx keeps them a minute, and requests come every two
/// seconds while the application's event loop stalls now and then.
fn keepalive_race() -> Story {
    let plan = Plan::default().first(|app| app.env("REAP_IDLE_MS", 2000)).gateway(|gateway| gateway.keepalive = 32);
    Story::new("keepalive_race")
        .plan(plan)
        .expect(Expect::new("keepalive_race", "app-1", ONE).cites(&["idle"]).advises(&["keep-alive|keepalive"]))
        .fault(|world| {
            world.faults("app-1", &json!({ "blips": { "every_ms": 410, "ms": 300 } }))?;
            world.client()?.change(|traffic| {
                (traffic.method, traffic.every, traffic.burst) = ("POST", Duration::from_millis(1998), 32);
            });
            Ok(())
        })
        .heal(|world| {
            world.client()?.change(|traffic| (traffic.every, traffic.burst) = (Duration::from_millis(50), 1));
            behave(world)
        })
}

fn premature_close() -> Story {
    Story::new("premature_close")
        .expect(Expect::new("premature_close", "app-1", ONE).cites(&["closed"]).advises(&["handler"]))
        .fault(|world| world.faults("app-1", &json!({ "close": "before" })))
        .heal(behave)
}

fn reset_before_answer() -> Story {
    Story::new("reset_before_answer")
        .expect(Expect::new("premature_close", "app-1", ONE).cites(&["reset"]).advises(&["handler"]))
        .fault(|world| world.faults("app-1", &json!({ "close": "reset" })))
        .heal(behave)
}

fn header_too_big() -> Story {
    Story::new("header_too_big")
        .expect(Expect::new("header_too_big", "app-1", ONE).cites(&["too big"]).advises(&["proxy_buffer_size"]))
        .fault(|world| world.faults("app-1", &json!({ "header_bytes": 9000 })))
        .heal(behave)
}

fn not_leader() -> Story {
    Story::new("not_leader")
        .expect(Expect::new("app_not_leader", "app-1", ONE).cites(&["leader"]).advises(&["leader|lock"]))
        .fault(|world| {
            let log = "503: not leader, lock \"shop\" is held by app-2";
            world.faults(
                "app-1",
                &json!({ "answer": { "status": 503, "body": "{\"error\":\"not leader\"}", "log": log } }),
            )
        })
        .heal(behave)
}

fn task_timeout() -> Story {
    Story::new("task_timeout")
        .expect(Expect::new("app_task_timeout", "app-1", ONE).cites(&["timed out"]).advises(&["task"]))
        .fault(|world| {
            let log = "503: task refresh-prices timed out after 30 s";
            world.faults(
                "app-1",
                &json!({ "answer": { "status": 503, "body": "{\"error\":\"task timed out\"}", "log": log } }),
            )
        })
        .heal(behave)
}

fn cache_failure() -> Story {
    Story::new("cache_failure")
        .expect(Expect::new("app_cache_failure", "app-1", ONE).cites(&["cache"]).advises(&["cache"]))
        .fault(|world| {
            let log = "503: cache failure: connection to redis 10.50.0.40:6379 refused";
            world.faults("app-1", &json!({ "answer": { "status": 503, "body": "{\"error\":\"cache\"}", "log": log } }))
        })
        .heal(behave)
}

fn unavailable() -> Story {
    Story::new("unavailable")
        .expect(Expect::new("app_unavailable", "app-1", ONE).cites(&["503"]).advises(&["log"]))
        .fault(|world| world.faults("app-1", &json!({ "answer": { "status": 503, "body": "{}" } })))
        .heal(behave)
}

fn error() -> Story {
    Story::new("error")
        .expect(Expect::new("app_error", "app-1", ONE).cites(&["500"]).advises(&["log|handler"]))
        .fault(|world| {
            let log = "unhandled error in GET /items: cannot read properties of undefined (reading 'price')";
            world.faults("app-1", &json!({ "answer": { "status": 500, "body": "{}", "log": log } }))
        })
        .heal(behave)
}

/// One path is slower than the gateway waits; all others are served as ever.
fn gateway_timeout() -> Story {
    Story::new("gateway_timeout")
        .expect(
            Expect::new("gateway_timeout", "app-1", ONE).cites(&["/report"]).advises(&["proxy_read_timeout|/report"]),
        )
        .fault(|world| {
            world.faults("app-1", &json!({ "slow": { "path": "/report", "ms": 8000 } }))?;
            world.client()?.change(|traffic| traffic.paths = vec!["/", "/items/7", "/items/8", "/report", "/items/9"]);
            Ok(())
        })
        .heal(behave)
}

/// Refused, and nobody on that host who could say why.
fn unknown_without_agent() -> Story {
    Story::new("unknown_without_agent")
        .plan(Plan::default().first(|app| App { has_agent: false, ..app }))
        .expect(Expect::new("unknown", "", ONE).cites(&["refused"]).misses(&["agent"]))
        .fault(|world| world.signal_app("app-1", "SIGKILL"))
        .heal(start_again)
}

/// HAProxy asks for health itself, and has one server only.
fn checked() -> Plan {
    let gateway = Gateway { kind: Kind::Haproxy, ..Gateway::default() };
    Plan { gateway, apps: vec![App::node("app-1", ONE)], ..Plan::default() }
}

fn health_failing() -> Story {
    Story::new("health_failing")
        .needs(&["haproxy"])
        .plan(checked())
        .expect(
            Expect::new("health_endpoint_failing", "app-1", ONE)
                .cites(&["503", "/health"])
                .advises(&["/health|depend"]),
        )
        .fault(|world| {
            world.faults("app-1", &json!({ "health": { "status": 503, "body": "{\"database\":\"down\"}" } }))
        })
        .heal(behave)
}

fn health_slow() -> Story {
    Story::new("health_slow")
        .needs(&["haproxy"])
        .plan(checked())
        .expect(Expect::new("health_endpoint_slow", "app-1", ONE).cites(&["/health"]).advises(&["timeout"]))
        .fault(|world| world.faults("app-1", &json!({ "health": { "ms": 1600 } })))
        .heal(behave)
}
