//! Stories that nobody wrote: gateway, applications, traffic, faults, their times and what happens beside them are drawn by a
//! number, so that verdicts are tried on what no rule was made for. The same number gives the same story.

mod ailment;
mod herring;

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ailment::Ailment;
use herring::Herring;

use super::{ONE, TWO};
use crate::dice::Dice;
use crate::lab::plan::{App, Check, Kind, Plan, Runtime, Told};
use crate::lab::story::{Expect, Story};

/// What all their names begin with.
const NAME: &str = "wild-";
/// The applications' hosts.
const HOSTS: [(&str, u8); 2] = [("app-1", ONE), ("app-2", TWO)];

/// Stories by numbers, from the first to before the last.
pub fn drawn(numbers: Range<u64>) -> Vec<Story> {
    numbers.map(draw).collect()
}

/// The story of a name, if it is one of these.
pub fn named(name: &str) -> Option<Story> {
    let number = name.strip_prefix(NAME)?.split('-').next()?;
    Some(draw(number.parse().ok()?))
}

fn draw(number: u64) -> Story {
    let mut dice = Dice::new(number);
    let mut plan = world(&mut dice);
    let all = ailment::all();
    let first = dice.below(2) as usize;
    let mut ill = vec![first];
    if dice.below(3) == 0 {
        ill.push(1 - first);
    }
    let mut drawn = Vec::new();
    for place in ill {
        let fitting: Vec<&Ailment> = all.iter().filter(|one| (one.fits)(&plan.gateway, &plan.apps[place])).collect();
        let ailment = fitting[dice.below(fitting.len() as u64) as usize];
        let variant = dice.below(1 << 16);
        (ailment.prepare)(&mut plan, place, variant);
        drawn.push(Drawn { place, ailment: ailment.clone(), variant, after: Duration::from_millis(dice.below(3000)) });
    }
    let herring = &herring::ALL[dice.below(herring::ALL.len() as u64) as usize];
    told(number, plan, drawn, herring, HOSTS[dice.below(2) as usize].0)
}

/// A gateway with applications behind it, and its clients.
fn world(dice: &mut Dice) -> Plan {
    let mut plan = Plan::default();
    let kind = Kind::ALL[dice.below(Kind::ALL.len() as u64) as usize];
    plan.gateway.kind = kind;
    plan.gateway.connect_s = 1 + dice.below(3) as u32;
    plan.gateway.read_s = 2 + dice.below(4) as u32;
    plan.gateway.keepalive = [0, 16][dice.below(2) as usize];
    plan.apps = HOSTS.map(|(host, number)| application(dice, host, number)).to_vec();
    plan.management = dice.below(3) == 0;
    plan.traffic.every = Duration::from_millis(20 + dice.below(130));
    plan.interval_s = [1, 2, 5, 10][dice.below(4) as usize];
    // nginx' own record tells nearly as much without it.
    plan.gateway.error_log = kind != Kind::Nginx || dice.below(3) > 0;
    // So that a failure comes with a success, a log that tells no upstream, or a member that is asked no more.
    // Caddy writes nothing of an attempt that it made again: there is nothing to tell.
    plan.gateway.retries = dice.below(4) == 0 && kind != Kind::Caddy;
    plan.gateway.plain_log = kind == Kind::Nginx && plan.gateway.error_log && dice.below(4) == 0;
    plan.gateway.check = (kind != Kind::Nginx && dice.below(3) == 0).then(Check::default);
    plan.traffic.method = ["GET", "GET", "POST"][dice.below(3) as usize];
    let (is_wrong, host, off_s) = (dice.below(4) == 0, dice.below(3) as usize, dice.below(90) as i32 - 45);
    if is_wrong && can_be_off(&plan, host) {
        plan.clocks = vec![(["app-1", "app-2", "lb-1"][host], off_s)];
    }
    plan
}

/// Programs in Go ask the kernel itself for the time, Envoy does not start and gunicorn's timers fail under a time that is not the
/// kernel's.
fn can_be_off(plan: &Plan, host: usize) -> bool {
    match plan.apps.get(host) {
        Some(app) => app.runtime == Runtime::Node,
        None => !matches!(plan.gateway.kind, Kind::Caddy | Kind::Envoy),
    }
}

fn application(dice: &mut Dice, host: &'static str, number: u8) -> App {
    let app = match dice.below(6) {
        0 => App::gunicorn(host, number, &["--workers", "3"]),
        1 => App::uvicorn(host, number, &[]),
        2 => App::of(Runtime::Puma, host, number, &["--threads", "4:4"]),
        _ => App::node(host, number),
    };
    // One thing in three is left out of the agent's configuration.
    let mut is_told = || dice.below(3) > 0;
    App { told: Told { matches: is_told(), health: is_told(), log: is_told() }, ..app }
}

/// What breaks one application of a story, and how long after what came before.
struct Drawn {
    place: usize,
    ailment: Ailment,
    variant: u64,
    after: Duration,
}

fn told(number: u64, plan: Plan, drawn: Vec<Drawn>, herring: &'static Herring, beside: &'static str) -> Story {
    let mut story = Story::new("");
    let parts: Vec<String> = drawn.iter().map(|one| format!("{}.{}", one.ailment.name, one.place + 1)).collect();
    story.name = format!("{NAME}{number}-{}-{}-{}", plan.gateway.kind.id(), parts.join("-"), herring.name);
    for one in &drawn {
        let (host, address) = HOSTS[one.place];
        story = story.needs(one.ailment.needs).expect(Expect::new(one.ailment.cause, host, address));
    }
    let drawn = Arc::new(drawn);
    let again = drawn.clone();
    // A gateway that checks has taken a member out before many clients met it.
    story
        .plan(plan)
        .clients_unharmed()
        .fault(move |world| {
            (herring.act)(world, beside)?;
            for one in drawn.iter() {
                thread::sleep(one.after);
                (one.ailment.fault)(world, HOSTS[one.place].0, one.variant)?;
            }
            Ok(())
        })
        .heal(move |world| again.iter().try_for_each(|one| (one.ailment.heal)(world, HOSTS[one.place].0, one.variant)))
}
