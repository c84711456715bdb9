//! The gateway's own health check says no although the application works. HAProxy always checks, nginx never does.

use serde_json::json;

use super::{ONE, behave};
use crate::lab::plan::{App, Check, Gateway, Kind, Plan};
use crate::lab::story::{Expect, Story};

/// Gateways whose record of checks says enough, beside HAProxy's.
const OTHERS: [Kind; 2] = [Kind::Envoy, Kind::Caddy];

pub(super) fn all() -> Vec<Story> {
    vec![health_failing(), health_slow(), health_wrong_target(), health_too_strict()]
}

/// One server only, so that none is left when it is taken out.
fn checked() -> Plan {
    let gateway = Gateway { kind: Kind::Haproxy, check: Some(Check::default()), ..Gateway::default() };
    Plan { gateway, apps: vec![App::node("app-1", ONE)], ..Plan::default() }
}

fn health_failing() -> Story {
    Story::new("health_failing")
        .also(&OTHERS)
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
        .also(&OTHERS)
        .plan(checked())
        .expect(Expect::new("health_endpoint_slow", "app-1", ONE).cites(&["/health"]).advises(&["timeout"]))
        .fault(|world| world.faults("app-1", &json!({ "health": { "ms": 1600 } })))
        .heal(behave)
}

/// Somebody changed the check to a page that there is not.
fn health_wrong_target() -> Story {
    Story::new("health_wrong_target")
        .also(&OTHERS)
        .plan(checked())
        .expect(
            Expect::new("health_check_wrong_target", "app-1", ONE)
                .cites(&["/no-such-health"])
                .advises(&["/no-such-health|path"]),
        )
        .fault(|world| {
            world.change_gateway(|gateway| {
                gateway.check = Some(Check { path: "/no-such-health", ..Check::default() });
            })
        })
        .heal(|world| world.change_gateway(|gateway| gateway.check = Some(Check::default())))
}

/// Health takes a third of a second, as it always has; somebody lowered the check's timeout to less,
/// and has one failure take it out.
fn health_too_strict() -> Story {
    Story::new("health_too_strict")
        .also(&OTHERS)
        .plan(checked().first(|app| app.env("HEALTH_MS", 300)))
        .expect(Expect::new("health_check_too_strict", "app-1", ONE).cites(&["check"]).advises(&["timeout"]))
        .fault(|world| {
            world.change_gateway(|gateway| {
                gateway.check = Some(Check { timeout_ms: 150, fall: 1, ..Check::default() });
            })
        })
        .heal(|world| world.change_gateway(|gateway| gateway.check = Some(Check::default())))
}
