//! The gateway's own health check says no although the application works.

use serde_json::json;

use super::{Ailment, Scope, behave, pick};
use crate::lab::plan::{App, Check, Gateway, Kind, Plan};

/// Gateways whose record of checks says enough.
fn tells_checks(gateway: &Gateway, app: &App) -> bool {
    matches!(gateway.kind, Kind::Haproxy | Kind::Envoy | Kind::Caddy) && !gateway.is_tcp && super::is_node(app)
}

/// The check before anything happened to it.
fn usual(n: u64) -> Check {
    Check { every_ms: pick(&[400, 700, 1000], n), fall: pick(&[2, 3], n / 3), ..Check::default() }
}

/// One server only, so that none is left when it is taken out.
fn checked(plan: &mut Plan, place: usize, n: u64) {
    plan.apps = vec![plan.apps[place].clone()];
    (plan.gateway.retries, plan.gateway.check) = (false, Some(usual(n)));
}

pub(super) fn all() -> Vec<Ailment> {
    let base = |name, cause, fault| Ailment {
        fits: tells_checks,
        scope: Scope::All,
        prepare: checked,
        heal: behave,
        ..Ailment::new(name, cause, fault)
    };
    let changed = |name, cause, fault| Ailment {
        heal: |world, _, n| world.change_gateway(|gateway| gateway.check = Some(usual(n))),
        ..base(name, cause, fault)
    };
    vec![
        base("health", "health_endpoint_failing", |world, host, n| {
            let status = pick(&[500, 503, 404, 401], n);
            world.faults(host, &json!({ "health": { "status": status, "body": "{\"database\":\"down\"}" } }))
        }),
        base("slowhealth", "health_endpoint_slow", |world, host, n| {
            world.faults(host, &json!({ "health": { "ms": 1400 + n % 3000 } }))
        }),
        changed("target", "health_check_wrong_target", |world, _, n| {
            world.change_gateway(|gateway| gateway.check = Some(Check { path: "/no-such-health", ..usual(n) }))
        }),
        Ailment {
            prepare: |plan, place, n| {
                checked(plan, place, n);
                plan.apps[0] = plan.apps[0].clone().env("HEALTH_MS", 250 + n % 200);
            },
            ..changed("strict", "health_check_too_strict", |world, _, n| {
                world.change_gateway(|gateway| gateway.check = Some(Check { timeout_ms: 120, fall: 1, ..usual(n) }))
            })
        },
    ]
}
