//! Stories from more than the first ones were drawn from: two gateways before the same applications, one behind another, bytes
//! that are handed on unread, runtimes that speak no HTTP, hosts that tell nothing, and ailments that came later.

use super::ailment::{self, Ailment, Scope};
use super::away::Away;
use super::{Drawn, HOSTS, Tale, herring};
use crate::dice::Dice;
use crate::lab::plan::{App, Gateway, Kind, Plan, Runtime};

/// What only who reads requests can tell.
const BY_REQUEST: [&str; 10] = [
    "app_unavailable",
    "app_error",
    "app_not_leader",
    "app_task_timeout",
    "app_cache_failure",
    "premature_close",
    "header_too_big",
    "gateway_timeout",
    "worker_killed",
    "disk_full",
];
/// What happens on the gateway's own host or is told of packets that it sends.
const OF_THE_FIRST: [&str; 4] = ["route", "drop", "dark", "ownreject"];

/// How a world is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Tcp,
    Parameters(Runtime),
    Inner(Kind),
    Beside(Kind),
}

pub(super) fn draw(number: u64) -> Tale {
    let mut dice = Dice::new(number);
    let mut plan = super::world(&mut dice);
    let shape = shape_of(&mut dice, &mut plan);
    let drawn = ailments(&mut dice, shape, &mut plan);
    let place = drawn[0].place;
    let away = Away::draw(&mut dice, drawn[0].ailment.cause, place, &mut plan).map(|away| (place, away));
    if let Shape::Beside(kind) = shape
        && drawn[0].ailment.scope != Scope::All
    {
        let members = Vec::new();
        let other = Gateway { kind, plain_log: false, error_log: true, check: None, members, ..plan.gateway.clone() };
        plan.beside = Some(other);
    }
    let herrings: Vec<_> = herring::ALL.iter().chain(&herring::MORE).collect();
    let herring = herrings[dice.below(herrings.len() as u64) as usize];
    let beside = HOSTS[dice.below(2) as usize].0;
    let beside = if plan.apps.iter().any(|app| app.host == beside) { beside } else { HOSTS[place].0 };
    Tale { number, plan, drawn, herring, beside, away }
}

fn shape_of(dice: &mut Dice, plan: &mut Plan) -> Shape {
    let kinds = [Kind::Nginx, Kind::Haproxy, Kind::Envoy, Kind::Apache, Kind::Caddy];
    let kind = kinds[dice.below(kinds.len() as u64) as usize];
    let shape = match dice.below(10) {
        0 => Shape::Tcp,
        1 => Shape::Parameters([Runtime::PhpFpm, Runtime::Uwsgi][dice.below(2) as usize]),
        2 => Shape::Inner([Kind::Nginx, Kind::Haproxy][dice.below(2) as usize]),
        3 | 4 => Shape::Beside(kind),
        _ => Shape::Plain,
    };
    let gateway = &mut plan.gateway;
    match shape {
        Shape::Tcp => (gateway.kind, gateway.is_tcp) = (Kind::Haproxy, true),
        Shape::Parameters(runtime) => {
            (gateway.kind, gateway.protocol, gateway.check) = (Kind::Nginx, runtime.protocol(), None);
            for app in &mut plan.apps {
                let arguments = if runtime == Runtime::PhpFpm {
                    &["pm = static", "pm.max_children = 4"][..]
                } else {
                    &["--processes", "4"]
                };
                *app = App { told: app.told, ..App::of(runtime, app.host, app.number, arguments) };
            }
        }
        Shape::Inner(_) => {
            // What checks, or tries another member, hides from the outer one what the inner one answers.
            (gateway.retries, gateway.check, gateway.plain_log, gateway.error_log) = (false, None, false, true);
            if gateway.kind == Kind::Haproxy {
                gateway.kind = Kind::Nginx;
            }
        }
        Shape::Plain if dice.below(5) == 0 => gateway.kind = Kind::Varnish,
        Shape::Plain | Shape::Beside(_) => {}
    }
    if let Shape::Inner(kind) = shape {
        plan.inner = Some(kind);
    }
    gateway_fits(&mut plan.gateway);
    plan.clocks.retain(|(host, _)| *host != "lb-1" || plan.gateway.kind == Kind::Nginx);
    plan.clocks.retain(|(host, _)| plan.apps.iter().all(|app| app.host != *host || app.runtime == Runtime::Node));
    plan.clocks.iter_mut().for_each(|(_, ahead_s)| *ahead_s *= [1, 10, 80][dice.below(3) as usize]);
    shape
}

/// What was drawn for another kind.
fn gateway_fits(gateway: &mut Gateway) {
    if gateway.kind != Kind::Nginx {
        (gateway.plain_log, gateway.error_log) = (false, true);
    } else {
        gateway.check = None;
    }
}

fn ailments(dice: &mut Dice, shape: Shape, plan: &mut Plan) -> Vec<Drawn> {
    let (first, is_double) = (dice.below(2) as usize, dice.below(3) == 0);
    let mut all = ailment::more();
    // Half of the stories have one that came later.
    if dice.below(2) == 0 {
        all.extend(ailment::all());
    }
    let mut drawn = vec![one(dice, shape, plan, first, &all)];
    if is_double && drawn[0].ailment.scope != Scope::All {
        let members: Vec<Ailment> =
            ailment::all().into_iter().chain(ailment::more()).filter(|one| one.scope == Scope::Member).collect();
        drawn.push(one(dice, shape, plan, 1 - first, &members));
    }
    drawn
}

fn one(dice: &mut Dice, shape: Shape, plan: &mut Plan, place: usize, all: &[Ailment]) -> Drawn {
    let fits = |one: &&Ailment| can_be_told(one, shape) && (one.fits)(&plan.gateway, &plan.apps[place]);
    let fitting: Vec<&Ailment> = all.iter().filter(fits).collect();
    // Whatever the runtime is, a host can lose its power.
    let ailment = match fitting.len() as u64 {
        0 => ailment::all().into_iter().find(|one| one.name == "power"),
        many => Some(fitting[dice.below(many) as usize].clone()),
    };
    let ailment = ailment.unwrap_or_else(|| all[0].clone());
    Drawn::at(place, &ailment, plan, dice)
}

fn can_be_told(ailment: &Ailment, shape: Shape) -> bool {
    match shape {
        Shape::Tcp => !BY_REQUEST.contains(&ailment.cause),
        Shape::Inner(_) => ailment.scope == Scope::Member && !OF_THE_FIRST.contains(&ailment.name),
        Shape::Parameters(_) | Shape::Plain | Shape::Beside(_) => true,
    }
}

/// A world's shape in its story's name.
pub(super) fn shape(plan: &Plan) -> String {
    let gateway = &plan.gateway;
    let mut name = gateway.kind.id().to_owned();
    if gateway.is_tcp {
        name.push_str("_tcp");
    }
    if gateway.protocol != "http" {
        // Not by its whole name: hosts' first processes have a story's name in their arguments, and would be taken for uWSGI.
        name.push_str(&format!("_{}", gateway.protocol.trim_start_matches('u')));
    }
    if let Some(kind) = plan.inner {
        name.push_str(&format!("_over_{}", kind.id()));
    }
    if let Some(other) = &plan.beside {
        name.push_str(&format!("_beside_{}", other.kind.id()));
    }
    name
}
