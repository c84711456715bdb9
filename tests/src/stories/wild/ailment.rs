//! Ways to break one application, whatever stands around it. The number that comes with each draws its details.

mod answers;
mod checked;
mod load;
mod network;
mod path;
mod pool;
mod settings;
mod twofold;

use serde_json::json;

use super::HOSTS;
use crate::lab::Done;
use crate::lab::plan::{App, Gateway, Plan, Runtime};
use crate::lab::story::Expect;
use crate::lab::world::World;

/// How much of a world an ailment takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// One member, whatever the others do.
    Member,
    /// One member of a pool that all have to be made for it.
    Pool,
    /// The gateway, all members or all traffic: nothing else can be told beside it.
    All,
}

/// A way to break one application.
#[derive(Clone)]
pub(super) struct Ailment {
    pub name: &'static str,
    pub cause: &'static str,
    pub needs: &'static [&'static str],
    /// Where it can be told.
    pub fits: fn(&Gateway, &App) -> bool,
    pub scope: Scope,
    /// The gateway's side tells it though nobody on the application's host reports.
    pub told_by_gateway: bool,
    /// What must be said of it, in the world that was prepared.
    pub expects: fn(&Self, &Plan, usize, u64) -> Vec<Expect>,
    /// What the world must have for it.
    pub prepare: fn(&mut Plan, usize, u64),
    pub fault: fn(&mut World, &'static str, u64) -> Done,
    pub heal: fn(&mut World, &'static str, u64) -> Done,
}

impl Ailment {
    /// One of Node.js applications that goes away when the application is started anew.
    fn new(name: &'static str, cause: &'static str, fault: fn(&mut World, &'static str, u64) -> Done) -> Self {
        Self {
            name,
            cause,
            needs: &[],
            fits: |_, app| is_node(app),
            scope: Scope::Member,
            told_by_gateway: false,
            expects: |ailment, _, place, _| vec![ailment.expected(place)],
            prepare: |_, _, _| {},
            fault,
            heal: start_again,
        }
    }

    /// Its cause, of the application at this place.
    fn expected(&self, place: usize) -> Expect {
        let (host, number) = HOSTS[place];
        Expect::new(self.cause, host, number)
    }
}

fn is_node(app: &App) -> bool {
    matches!(app.runtime, Runtime::Node)
}

/// One process that holds the socket by itself.
fn is_single(app: &App) -> bool {
    !matches!(app.runtime, Runtime::Gunicorn | Runtime::Uwsgi | Runtime::PhpFpm)
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
    [endings(), silences(), restarts(), network::all(), load::all(), answers::all()].into_iter().flatten().collect()
}

/// Those that came later.
pub(super) fn more() -> Vec<Ailment> {
    [settings::all(), checked::all(), path::all(), pool::all(), twofold::all()].into_iter().flatten().collect()
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
        Ailment {
            // Its service manager has it back; what killed it is still the news.
            fits: |_, app| is_single(app),
            prepare: |plan, place, n| plan.apps[place].restart_ms = Some(1500 + n % 1500),
            heal: |_, _, _| Ok(()),
            ..Ailment::new("respawn", "process_killed", |world, host, _| world.signal_app(host, "SIGKILL"))
        },
        Ailment {
            // Puma ends by the signal that asked it to, as whoever was killed by it does.
            fits: |_, app| app.runtime != Runtime::Puma,
            ..Ailment::new("stop", "process_stopped", |world, host, _| world.stop_app(host))
        },
        Ailment {
            needs: &["cgroups"],
            prepare: |plan, place, n| plan.apps[place].limits.memory_mib = Some(120 + n % 120),
            ..Ailment::new("oom", "oom_killed", |world, host, n| {
                world.faults(host, &json!({ "leak_mb_s": 60 + n % 340 }))
            })
        },
        Ailment {
            needs: &["cgroups"],
            prepare: |plan, place, n| {
                plan.apps[place].limits.memory_mib = Some(120 + n % 120);
                plan.apps[place].restart_ms = Some(300 + n % 700);
            },
            ..Ailment::new("oomloop", "oom_killed", |world, host, n| {
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
        Ailment {
            heal: behave,
            ..Ailment::new("pause", "process_hung", |world, host, n| {
                world.faults(host, &json!({ "spin_ms": 6000 + n % 4000 }))
            })
        },
        Ailment::new("hang", "process_hung", |world, host, _| world.faults(host, &json!({ "hang": true }))),
        Ailment {
            fits: |_, app| app.runtime == Runtime::Uvicorn,
            ..Ailment::new("block", "process_hung", |world, host, _| world.faults(host, &json!({ "block": true })))
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
