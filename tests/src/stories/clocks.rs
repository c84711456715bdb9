//! Clocks that differ by a minute and more between hosts, or that are stepped meanwhile: what came first is still told right.

use super::{ONE, start_again};
use crate::lab::plan::{App, GATEWAY_HOST, Plan};
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;

pub(super) fn all() -> Vec<Story> {
    vec![
        killed("killed_clock_ahead", vec![("app-1", 70)]),
        killed("killed_clock_behind", vec![("app-1", -70)]),
        killed("killed_gateway_clock_ahead", vec![(GATEWAY_HOST, 70)]),
        warming_up_clocks_apart(),
        killed_while_stepped("killed_clock_set_back", GATEWAY_HOST, -3_600),
        killed_while_stepped("killed_clock_set_forward", GATEWAY_HOST, 3_600),
        killed_while_stepped("killed_clock_of_tomorrow", "app-1", 86_400),
        killed_while_stepped("killed_clock_of_yesterday", "app-1", -86_400),
    ]
}

fn wrong(story: Story, clocks: Vec<(&'static str, i32)>) -> Story {
    let plan = Plan { clocks, ..story.plan.clone() };
    story.needs(&["faketime"]).plan(plan)
}

fn killed(name: &'static str, clocks: Vec<(&'static str, i32)>) -> Story {
    let story = Story::new(name)
        .expect(Expect::new("process_killed", "app-1", ONE).cites(&["sigkill|signal 9"]).advises(&["kill"]))
        .fault(|world: &mut World| world.signal_app("app-1", "SIGKILL"))
        .heal(start_again);
    wrong(story, clocks)
}

/// As a time server does that is reached late: nothing has told of the step yet when it fails.
fn killed_while_stepped(name: &'static str, host: &'static str, ahead_s: i32) -> Story {
    killed(name, vec![(host, 0)]).fault(move |world: &mut World| {
        world.step_clock(host, ahead_s)?;
        world.signal_app("app-1", "SIGKILL")
    })
}

/// Here the order is all that tells: it failed from its start until it listened.
fn warming_up_clocks_apart() -> Story {
    let story = Story::new("warming_up_clocks_apart")
        .plan(Plan::default().first(|app: App| app.env("LISTEN_DELAY_MS", 4000)))
        .expect(Expect::new("warming_up", "app-1", ONE).cites(&["start"]))
        .fault(|world| {
            world.stop_app("app-1")?;
            world.start_app("app-1")
        });
    wrong(story, vec![("app-1", 50), (GATEWAY_HOST, -50)])
}
