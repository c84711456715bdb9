//! Stories that nobody wrote: gateway, applications, traffic, faults, their times and what happens beside them are drawn by a
//! number, so that verdicts are tried on what no rule was made for. The same number gives the same story.

mod ailment;
mod away;
mod herring;
mod wider;

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ailment::Ailment;
use away::Away;
use herring::Herring;

use super::{ONE, TWO};
use crate::dice::Dice;
use crate::lab::plan::{App, Check, Kind, Plan, Runtime, Told};
use crate::lab::story::{Expect, Story};
use crate::lab::world::inner_address;

/// What all their names begin with.
const NAME: &str = "wild-";
/// From this number on stories are drawn from more: what was drawn by a lower one stays what it was.
const WIDER: u64 = 10_000;
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
    if number < WIDER { narrow(number).story() } else { wider::draw(number).story() }
}

fn narrow(number: u64) -> Tale {
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
        drawn.push(Drawn::at(place, ailment, &mut plan, &mut dice));
    }
    let herring = &herring::ALL[dice.below(herring::ALL.len() as u64) as usize];
    let beside = HOSTS[dice.below(2) as usize].0;
    Tale { number, plan, drawn, herring, beside, away: None }
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

impl Drawn {
    /// Draws the details of an ailment and prepares the world for it.
    fn at(place: usize, ailment: &Ailment, plan: &mut Plan, dice: &mut Dice) -> Self {
        let variant = dice.below(1 << 16);
        (ailment.prepare)(plan, place, variant);
        Self { place, ailment: ailment.clone(), variant, after: Duration::from_millis(dice.below(3000)) }
    }
}

/// All that was drawn for a story.
struct Tale {
    number: u64,
    plan: Plan,
    drawn: Vec<Drawn>,
    herring: &'static Herring,
    /// The host that the herring happens on.
    beside: &'static str,
    /// The place whose agent is no help, and why.
    away: Option<(usize, Away)>,
}

impl Tale {
    fn name(&self) -> String {
        let parts: Vec<String> =
            self.drawn.iter().map(|one| format!("{}.{}", one.ailment.name, one.place + 1)).collect();
        let away = self.away.map_or(String::new(), |(place, away)| format!("-{}.{}", away.name(), place + 1));
        let (gateway, herring) = (wider::shape(&self.plan), self.herring.name);
        format!("{NAME}{}-{gateway}-{}{away}-{herring}", self.number, parts.join("-"))
    }

    /// What must be said of an ailment in the end.
    fn expects(&self, one: &Drawn) -> Vec<Expect> {
        let mut expects = (one.ailment.expects)(&one.ailment, &self.plan, one.place, one.variant);
        if let Some((_, away)) = self.away.filter(|(place, _)| *place == one.place) {
            expects = away.in_the_end(expects, one.ailment.told_by_gateway);
        }
        if self.plan.inner.is_some() {
            // It is true as well that the application said so.
            let passed_on = Expect::new("inner_gateway", "", 0).at(&inner_address());
            expects.push(passed_on.or(&["app_error", "app_unavailable"]));
        }
        expects
    }

    fn story(self) -> Story {
        let mut story = Story::new("");
        story.name = self.name();
        for one in &self.drawn {
            story = story.needs(one.ailment.needs);
            for expect in self.expects(one) {
                if story.expects.iter().all(|known| known.upstream != expect.upstream) {
                    story = story.expect(expect);
                }
            }
        }
        if let Some((place, away)) = self.away {
            story = away.told_of(story, HOSTS[place].0);
        }
        // A gateway that checks has taken a member out before many clients met it.
        story = story.plan(self.plan.clone()).clients_unharmed();
        let tale = Arc::new(self);
        let again = tale.clone();
        story
            .fault(move |world| {
                (tale.herring.act)(world, tale.beside)?;
                if let Some((place, away)) = tale.away {
                    away.leaves(world, HOSTS[place].0)?;
                }
                for one in &tale.drawn {
                    thread::sleep(one.after);
                    (one.ailment.fault)(world, HOSTS[one.place].0, one.variant)?;
                }
                Ok(())
            })
            .heal(move |world| {
                if let Some((place, away)) = again.away {
                    away.returns(world, HOSTS[place].0)?;
                }
                again.drawn.iter().try_for_each(|one| (one.ailment.heal)(world, HOSTS[one.place].0, one.variant))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_numbers_give_what_they_gave_before_there_were_higher_ones() {
        let names: Vec<String> = drawn(0..3).into_iter().map(|story| story.name).collect();
        assert_eq!(names, ["wild-0-caddy-stop.2-mark", "wild-1-nginx-quota.2-mark", "wild-2-caddy-reject.2-mark"]);
    }

    #[test]
    fn every_story_has_its_own_name_and_something_to_say() {
        for story in drawn(0..200).into_iter().chain(drawn(WIDER..WIDER + 500)) {
            assert_eq!(named(&story.name).map(|again| again.name), Some(story.name.clone()));
            assert!(!story.expects.is_empty(), "{}", story.name);
        }
    }
}
