//! Answers that the application made, protocol quarrels, and timeouts of an instance that works.

use std::time::Duration;

use serde_json::json;

use super::{ONE, behave};
use crate::lab::plan::{App, Kind, Plan};
use crate::lab::story::{Expect, Story};

pub(super) fn all() -> Vec<Story> {
    vec![
        keepalive_race(),
        premature_close(),
        reset_before_answer(),
        header_too_big(),
        header_malformed(),
        not_leader(),
        task_timeout(),
        cache_failure(),
        unavailable(),
        error(),
        unhandled_exception(),
        gateway_timeout(),
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
        .everywhere()
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
        .also(&[Kind::Haproxy, Kind::Envoy, Kind::Apache, Kind::Caddy])
        .expect(Expect::new("header_too_big", "app-1", ONE).cites(&["header"]).advises_setting(&[
            (Kind::Nginx, "proxy_buffer_size"),
            (Kind::Haproxy, "tune.bufsize"),
            (Kind::Envoy, "max_response_headers_kb"),
            (Kind::Apache, "responsefieldsize"),
            (Kind::Caddy, "max_response_header"),
        ]))
        .fault(|world| world.faults("app-1", &json!({ "header_bytes": 20000 })))
        .heal(behave)
}

/// A line without a colon stands in the header. HAProxy and Envoy say that something is wrong with the answer, not what.
fn header_malformed() -> Story {
    Story::new("header_malformed")
        .also(&[Kind::Haproxy, Kind::Envoy, Kind::Apache, Kind::Caddy])
        .expect(Expect::new("header_invalid", "app-1", ONE).cites(&["header"]).advises(&["header"]))
        .fault(|world| world.faults("app-1", &json!({ "header_line": "X-Price 17 EUR" })))
        .heal(behave)
}

fn not_leader() -> Story {
    Story::new("not_leader")
        .everywhere()
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
        .everywhere()
        .expect(Expect::new("app_unavailable", "app-1", ONE).cites(&["503|app_status"]).advises(&["log"]))
        .fault(|world| world.faults("app-1", &json!({ "answer": { "status": 503, "body": "{}" } })))
        .heal(behave)
}

fn error() -> Story {
    Story::new("error")
        .everywhere()
        .expect(Expect::new("app_error", "app-1", ONE).cites(&["500|app_status"]).advises(&["log|handler"]))
        .fault(|world| {
            let log = "unhandled error in GET /items: cannot read properties of undefined (reading 'price')";
            world.faults("app-1", &json!({ "answer": { "status": 500, "body": "{}", "log": log } }))
        })
        .heal(behave)
}

/// uvicorn answers 500 for an exception that nobody handles, and tells of it on its standard error.
fn unhandled_exception() -> Story {
    let mut plan = Plan::default();
    plan.apps[0] = App::uvicorn("app-1", ONE, &[]);
    Story::new("unhandled_exception")
        .plan(plan)
        .expect(Expect::new("app_error", "app-1", ONE).cites(&["500|app_status"]).advises(&["log|handler"]))
        .fault(|world| world.faults("app-1", &json!({ "raise": "no price for item 7" })))
        .heal(behave)
}

/// One path is slower than the gateway waits; all others are served as ever.
fn gateway_timeout() -> Story {
    Story::new("gateway_timeout")
        .everywhere()
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
