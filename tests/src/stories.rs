//! The stories of the lab: for each cause one that provokes it for real, and look-alikes that must not be taken for it.

mod application;
mod down;
mod lookalike;
mod network;
mod overload;
mod restarting;

use super::lab::Done;
use super::lab::story::Story;
use super::lab::world::World;

/// Number of the first application's host.
pub(crate) const ONE: u8 = 21;
/// Number of the second's.
pub(crate) const TWO: u8 = 22;

/// Every story, the slowest families first so that they do not stand alone at the end.
pub fn all() -> Vec<Story> {
    [overload::all(), restarting::all(), lookalike::all(), network::all(), down::all(), application::all()].concat()
}

/// Takes back the first application's faults and starts it anew.
pub(crate) fn start_again(world: &mut World) -> Done {
    world.faults("app-1", &serde_json::json!({}))?;
    world.stop_app("app-1")?;
    world.start_app("app-1")
}

/// Takes back the first application's faults.
pub(crate) fn behave(world: &mut World) -> Done {
    world.faults("app-1", &serde_json::json!({}))
}

/// A rule of the first application's host for packets to its port, put in or taken out.
pub(crate) fn rule(world: &mut World, action: &str, target: &str) -> Done {
    world.run("app-1", &format!("iptables -w {action} INPUT ! -i lo -p tcp --dport 3000 -j {target}"))
}
