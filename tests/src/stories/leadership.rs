//! One instance leads, the others answer 503, and each tells its role in its health.

use serde_json::json;

use super::{ONE, TWO};
use crate::lab::Done;
use crate::lab::plan::{App, Plan};
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;

pub(super) fn all() -> Vec<Story> {
    vec![leader_elsewhere(), two_leaders(), no_leader()]
}

/// The number of the third application's host.
const THREE: u8 = 23;

fn plan() -> Plan {
    let app = |host, number, leads: bool| App { tells_role: true, ..App::node(host, number).env("LEADER", leads) };
    Plan {
        apps: vec![app("app-1", ONE, false), app("app-2", TWO, true), app("app-3", THREE, false)],
        ..Plan::default()
    }
}

/// An instance answers that it does not lead, and its health tells what it says of itself.
fn turns_away(world: &World, host: &str, leads: bool) -> Done {
    let answer = json!({ "status": 503, "body": "{\"error\":\"not leader\"}", "log": "503: not leader" });
    world.faults(host, &json!({ "answer": answer, "health": health(leads) }))
}

fn health(leads: bool) -> serde_json::Value {
    json!({ "body": format!("{{\"status\":\"ok\",\"leader\":{leads}}}") })
}

fn all_behave(world: &mut World) -> Done {
    ["app-1", "app-2", "app-3"].iter().try_for_each(|host| world.faults(host, &json!({})))
}

fn leader_elsewhere() -> Story {
    Story::new("leader_elsewhere")
        .plan(plan())
        .expect(Expect::new("app_not_leader", "app-1", ONE).cites(&["app-2"]).advises(&["leader|app-2"]))
        .fault(|world| turns_away(world, "app-1", false))
        .heal(all_behave)
}

/// Two claim it at once, and the third turns requests away.
fn two_leaders() -> Story {
    Story::new("two_leaders")
        .plan(plan())
        .expect(Expect::new("app_not_leader", "app-1", ONE).cites(&["app-2", "app-3", "several|two"]))
        .fault(|world| {
            world.faults("app-3", &json!({ "health": health(true) }))?;
            world.wait_role("app-3", true)?;
            turns_away(world, "app-1", false)
        })
        .heal(all_behave)
}

/// The leader lost its lock, and nobody has it: all turn requests away.
fn no_leader() -> Story {
    let expect =
        |host, number| Expect::new("app_not_leader", host, number).cites(&["nobody"]).advises(&["leader|lock"]);
    Story::new("no_leader")
        .plan(plan())
        .expect(expect("app-1", ONE))
        .expect(expect("app-2", TWO))
        .expect(expect("app-3", THREE))
        .fault(|world| {
            world.faults("app-2", &json!({ "health": health(false) }))?;
            world.wait_role("app-2", false)?;
            ["app-1", "app-2", "app-3"].iter().try_for_each(|host| turns_away(world, host, false))
        })
        .heal(all_behave)
}
