//! What is wrong in the gateway's settings, in names and certificates, or on its own host.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ailment, Scope};
use crate::lab::Done;
use crate::lab::plan::{App, CERTIFICATES, Gateway, Kind, NAME, PORT, Plan};
use crate::lab::story::Expect;
use crate::lab::world::{World, upstream};
use crate::stories::wild::HOSTS;

pub(super) fn all() -> Vec<Ailment> {
    [members(), encryption(), shortages()].into_iter().flatten().collect()
}

/// The member that a gateway's settings name by mistake.
fn mistaken(place: usize, n: u64) -> String {
    let (_, number) = HOSTS[place];
    if n.is_multiple_of(2) { upstream(90 + (n / 2 % 9) as u8) } else { upstream(number).replace("3000", "3001") }
}

/// Gateways that ask a member without having checked it.
fn asks_any(gateway: &Gateway, _: &App) -> bool {
    gateway.kind != Kind::Haproxy && gateway.check.is_none()
}

fn members() -> Vec<Ailment> {
    vec![
        Ailment {
            fits: asks_any,
            scope: Scope::All,
            told_by_gateway: true,
            // Another port of the host is as wrong an address as it is one where nothing listens.
            expects: |_, _, place, n| {
                let expect = Expect::new("wrong_upstream", "", 0).at(&mistaken(place, n));
                vec![if n.is_multiple_of(2) { expect } else { expect.or(&["port_not_listening"]) }]
            },
            heal: |world, _, _| world.reload_gateway(&HOSTS.map(|(_, number)| upstream(number))),
            ..Ailment::new("address", "wrong_upstream", |world, host, n| {
                let place = usize::from(host == HOSTS[1].0);
                world.reload_gateway(&[mistaken(place, n), upstream(HOSTS[1 - place].1)])
            })
        },
        Ailment {
            fits: asks_any,
            scope: Scope::All,
            prepare: |plan, place, _| {
                plan.apps[place].starts = false;
                plan.gateway.members = vec![upstream(HOSTS[1 - place].1)];
            },
            ..Ailment::new("absent", "never_started", |world, _, _| {
                world.reload_gateway(&HOSTS.map(|(_, number)| upstream(number)))
            })
        },
        Ailment {
            fits: |gateway, _| matches!(gateway.kind, Kind::Nginx | Kind::Caddy),
            scope: Scope::All,
            told_by_gateway: true,
            needs: &["python3"],
            expects: |ailment, _, _, _| vec![Expect::new(ailment.cause, "", 0).at(&format!("{NAME}:{PORT}"))],
            prepare: |plan, _, _| {
                (plan.gateway.by_name, plan.gateway.check, plan.gateway.retries) = (true, None, false);
            },
            heal: |world, _, _| {
                let addresses = HOSTS.map(|(_, number)| upstream(number).replace(":3000", ""));
                world.names(&json!({ NAME: addresses }))
            },
            ..Ailment::new("name", "dns_failure", |world, _, n| {
                // There is no such name, it has no address, or the server itself fails.
                let answers = [json!({}), json!({ NAME: [] }), json!({ NAME: Value::Null })];
                world.names(&answers[n as usize % answers.len()])
            })
        },
    ]
}

/// All speak TLS, with the certificate that the gateway trusts.
fn encrypt(plan: &mut Plan) {
    plan.gateway.tls = true;
    for app in &mut plan.apps {
        *app = App { certificate: CERTIFICATES[0], told: app.told, ..App::node(app.host, app.number) };
    }
}

fn with_certificate(world: &mut World, host: &str, certificate: &'static str) -> Done {
    world.stop_app(host)?;
    world.change_app(host, |app| app.certificate = certificate)?;
    world.start_app(host)
}

fn encryption() -> Vec<Ailment> {
    let encrypted = |name, cause, fault| Ailment {
        fits: |gateway, _| gateway.kind != Kind::Varnish && !gateway.is_tcp && gateway.protocol == "http",
        scope: Scope::Pool,
        needs: &["openssl"],
        prepare: |plan, _, _| encrypt(plan),
        heal: |world, host, _| with_certificate(world, host, CERTIFICATES[0]),
        ..Ailment::new(name, cause, fault)
    };
    vec![
        encrypted("untrusted", "tls_handshake_failed", |world, host, _| with_certificate(world, host, CERTIFICATES[1])),
        encrypted("plain", "wrong_protocol", |world, host, _| with_certificate(world, host, "")),
        Ailment {
            fits: |gateway, app| super::is_node(app) && !gateway.is_tcp && gateway.kind != Kind::Haproxy,
            needs: &["openssl"],
            heal: |world, host, _| with_certificate(world, host, ""),
            ..Ailment::new("encrypted", "wrong_protocol", |world, host, _| {
                world.make_certificates()?;
                with_certificate(world, host, CERTIFICATES[0])
            })
        },
    ]
}

fn shortages() -> Vec<Ailment> {
    vec![
        Ailment {
            fits: |gateway, _| matches!(gateway.kind, Kind::Nginx | Kind::Envoy | Kind::Apache | Kind::Caddy),
            scope: Scope::All,
            prepare: |plan, place, _| {
                plan.apps = vec![plan.apps[place].clone()];
                plan.gateway.keepalive = 0;
                plan.traffic.every = plan.traffic.every.min(Duration::from_millis(80));
            },
            heal: |world, _, _| ports(world, 20_000, 60_999),
            ..Ailment::new("ports", "ephemeral_ports_exhausted", |world, _, n| ports(world, 41_000, 41_019 + n % 40))
        },
        Ailment {
            fits: |gateway, app| gateway.kind == Kind::Nginx && gateway.protocol == "http" && super::is_node(app),
            scope: Scope::All,
            told_by_gateway: true,
            expects: |ailment, plan, _, _| {
                plan.apps.iter().map(|app| Expect::new(ailment.cause, app.host, app.number)).collect()
            },
            prepare: |plan, _, n| {
                (plan.gateway.connections, plan.gateway.read_s) = (50 + (n % 20) as u32, 5);
                plan.traffic.every = plan.traffic.every.min(Duration::from_millis(50));
                for app in &mut plan.apps {
                    *app = App { told: app.told, ..App::node(app.host, app.number) };
                }
            },
            heal: |world, _, _| HOSTS.iter().try_for_each(|(host, _)| world.faults(host, &json!({}))),
            ..Ailment::new("connections", "gateway_resource", |world, _, _| {
                let slow = json!({ "slow": { "path": "/", "ms": 2500 } });
                HOSTS.iter().try_for_each(|(host, _)| world.faults(host, &slow))
            })
        },
    ]
}

/// The ports that the gateway's host calls from.
fn ports(world: &mut World, from: u64, to: u64) -> Done {
    world.shell("lb-1", &format!("echo {from} {to} > /proc/sys/net/ipv4/ip_local_port_range"))
}
