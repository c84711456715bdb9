//! Ways to break one application, whatever stands around it. The number that comes with each draws its details.

use std::time::Duration;

use serde_json::json;

use crate::lab::Done;
use crate::lab::plan::{App, Gateway, Kind, Plan, Runtime};
use crate::lab::world::World;

/// A way to break one application.
#[derive(Clone)]
pub(super) struct Ailment {
    pub name: &'static str,
    pub cause: &'static str,
    pub needs: &'static [&'static str],
    /// Where it can be told.
    pub fits: fn(&Gateway, &App) -> bool,
    /// What the world must have for it.
    pub prepare: fn(&mut Plan, usize, u64),
    pub fault: fn(&mut World, &'static str, u64) -> Done,
    pub heal: fn(&mut World, &'static str, u64) -> Done,
}

impl Ailment {
    /// One of Node.js applications that goes away when the application is started anew.
    fn new(name: &'static str, cause: &'static str, fault: fn(&mut World, &'static str, u64) -> Done) -> Self {
        Self { name, cause, needs: &[], fits: |_, app| is_node(app), prepare: |_, _, _| {}, fault, heal: start_again }
    }
}

fn is_node(app: &App) -> bool {
    matches!(app.runtime, Runtime::Node)
}

/// One process that holds the socket by itself.
fn is_single(app: &App) -> bool {
    !matches!(app.runtime, Runtime::Gunicorn)
}

fn start_again(world: &mut World, host: &'static str, _: u64) -> Done {
    world.faults(host, &json!({}))?;
    world.stop_app(host)?;
    world.start_app(host)
}

fn behave(world: &mut World, host: &'static str, _: u64) -> Done {
    world.faults(host, &json!({}))
}

fn pick<T: Copy>(of: &[T], number: u64) -> T {
    of[number as usize % of.len()]
}

/// The number of a host on the network.
fn number(world: &World, host: &str) -> Done<u8> {
    Ok(world.app(host)?.number)
}

pub(super) fn all() -> Vec<Ailment> {
    [endings(), silences(), unreachable(), shortages(), answers(), restarts()].into_iter().flatten().collect()
}

fn endings() -> Vec<Ailment> {
    const SIGNALS: [&str; 5] = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"];
    const TEXTS: [&str; 3] =
        ["connect ECONNREFUSED 10.50.0.40:5432", "Cannot find module 'express'", "price list is empty"];
    vec![
        Ailment {
            fits: |_, app| is_single(app),
            ..Ailment::new("signal", "process_crashed", |world, host, n| world.signal_app(host, pick(&SIGNALS, n)))
        },
        Ailment::new("exit", "process_crashed", |world, host, n| world.faults(host, &json!({ "exit": 1 + n % 100 }))),
        Ailment::new("throw", "process_crashed", |world, host, n| {
            world.faults(host, &json!({ "throw": pick(&TEXTS, n) }))
        }),
        Ailment {
            fits: |_, app| is_single(app),
            ..Ailment::new("kill", "process_killed", |world, host, _| world.signal_app(host, "SIGKILL"))
        },
        Ailment { fits: |_, _| true, ..Ailment::new("stop", "process_stopped", |world, host, _| world.stop_app(host)) },
        Ailment {
            needs: &["cgroups"],
            prepare: |plan, place, n| plan.apps[place].limits.memory_mib = Some(120 + n % 120),
            ..Ailment::new("oom", "oom_killed", |world, host, n| {
                world.faults(host, &json!({ "leak_mb_s": 60 + n % 340 }))
            })
        },
        Ailment {
            fits: |_, _| true,
            heal: |world, host, _| world.power_on(host),
            ..Ailment::new("power", "host_down", |world, host, _| world.power_off(host))
        },
    ]
}

fn silences() -> Vec<Ailment> {
    vec![
        Ailment {
            fits: |_, app| is_single(app),
            heal: |world, host, _| world.signal_app(host, "SIGCONT"),
            ..Ailment::new("sigstop", "process_hung", |world, host, _| world.signal_app(host, "SIGSTOP"))
        },
        Ailment {
            heal: |world, host, _| {
                world.faults(host, &json!({}))?;
                world.signal_app(host, "SIGKILL")?;
                world.start_app(host)
            },
            ..Ailment::new("spin", "process_hung", |world, host, _| world.faults(host, &json!({ "spin": true })))
        },
        Ailment::new("hang", "process_hung", |world, host, _| world.faults(host, &json!({ "hang": true }))),
        Ailment {
            fits: |_, app| app.runtime == Runtime::Uvicorn,
            ..Ailment::new("block", "process_hung", |world, host, _| world.faults(host, &json!({ "block": true })))
        },
    ]
}

fn rule(world: &mut World, action: &str, host: &str, n: u64) -> Done {
    const TARGETS: [&str; 4] = [
        "REJECT --reject-with tcp-reset",
        "REJECT --reject-with icmp-port-unreachable",
        "REJECT --reject-with icmp-host-prohibited",
        "REJECT --reject-with icmp-admin-prohibited",
    ];
    world.run(host, &format!("iptables -w {action} INPUT ! -i lo -p tcp --dport 3000 -j {}", pick(&TARGETS, n)))
}

/// On the application's host for all or for the gateway alone, or on the gateway's.
fn drop_rule(world: &mut World, action: &str, host: &str, n: u64) -> Done {
    let at = number(world, host)?;
    let (on, text) = match n % 3 {
        0 => (host, "INPUT ! -i lo -p tcp --dport 3000".to_owned()),
        1 => (host, "INPUT -s 10.50.0.10 -p tcp --dport 3000".to_owned()),
        _ => ("lb-1", format!("OUTPUT -d 10.50.0.{at} -p tcp --dport 3000")),
    };
    world.run(on, &format!("iptables -w {action} {text} -j DROP"))
}

fn route(world: &mut World, action: &str, host: &str) -> Done {
    let at = number(world, host)?;
    world.run("lb-1", &format!("ip route {action} unreachable 10.50.0.{at}/32"))
}

fn unreachable() -> Vec<Ailment> {
    let anywhere = |_: &Gateway, _: &App| true;
    vec![
        Ailment {
            needs: &["iptables"],
            fits: anywhere,
            heal: |world, host, n| rule(world, "-D", host, n),
            ..Ailment::new("reject", "firewall_reject", |world, host, n| rule(world, "-A", host, n))
        },
        Ailment {
            needs: &["iptables"],
            fits: anywhere,
            heal: |world, host, n| drop_rule(world, "-D", host, n),
            ..Ailment::new("drop", "firewall_drop", |world, host, n| drop_rule(world, "-A", host, n))
        },
        Ailment {
            fits: anywhere,
            heal: |world, host, _| route(world, "del", host),
            ..Ailment::new("route", "no_route", |world, host, _| route(world, "add", host))
        },
        Ailment {
            fits: anywhere,
            prepare: |plan, _, _| plan.management = true,
            heal: |world, host, _| world.cable(host, true),
            ..Ailment::new("cable", "link_down", |world, host, _| world.cable(host, false))
        },
        Ailment {
            fits: |gateway, app| is_node(app) && gateway.kind != Kind::Haproxy,
            heal: |world, host, n| {
                world.change_app(host, |app| app.env.clear())?;
                start_again(world, host, n)
            },
            ..Ailment::new("loopback", "port_not_listening", |world, host, _| {
                world.stop_app(host)?;
                world.change_app(host, |app| *app = app.clone().env("BIND", "127.0.0.1"))?;
                world.start_app(host)
            })
        },
    ]
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

fn answers() -> Vec<Ailment> {
    vec![
        Ailment {
            fits: |_, _| true,
            heal: behave,
            ..Ailment::new("503", "app_unavailable", |world, host, _| {
                world.faults(host, &json!({ "answer": { "status": 503, "body": "{}" } }))
            })
        },
        Ailment {
            fits: |_, _| true,
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

fn restarts() -> Vec<Ailment> {
    vec![
        Ailment {
            prepare: |plan, place, n| {
                let delay_ms = 800 + n % 1500;
                plan.apps[place] = App { release: "v41", ..plan.apps[place].clone() }.env("LISTEN_DELAY_MS", delay_ms);
            },
            heal: |_, _, _| Ok(()),
            ..Ailment::new("deploy", "deploying", |world, host, _| {
                world.stop_app(host)?;
                world.change_app(host, |app| app.release = "v42")?;
                world.start_app(host)
            })
        },
        Ailment {
            prepare: |plan, place, n| plan.apps[place].restart_ms = Some(200 + n % 800),
            heal: behave,
            ..Ailment::new("loop", "crash_looping", |world, host, _| {
                world.faults(host, &json!({ "throw": "no such database: shop" }))
            })
        },
        Ailment {
            prepare: |plan, place, n| {
                plan.apps[place] = plan.apps[place].clone().env("LISTEN_DELAY_MS", 3000 + n % 3000);
            },
            heal: |_, _, _| Ok(()),
            ..Ailment::new("warm", "warming_up", |world, host, _| {
                world.stop_app(host)?;
                world.start_app(host)
            })
        },
    ]
}
