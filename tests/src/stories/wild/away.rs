//! Agents that are no help: none there, one that is cut off and comes back with what it saw, one that was stopped.

use crate::dice::Dice;
use crate::lab::Done;
use crate::lab::plan::Plan;
use crate::lab::story::{Expect, Story};
use crate::lab::world::World;

/// Why an application's host tells nothing while its application fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// It has no agent.
    Never,
    /// Its agent's way to the collector is cut; it tells later.
    CutOff,
    /// Its agent does not run meanwhile, and is started again when all is mended.
    Stopped,
}

/// What is told by the silence of a host itself, or only by one that reports meanwhile.
const NEEDS_A_REPORT: [&str; 3] = ["host_down", "host_rebooted", "link_down"];

impl Away {
    /// One, where the cause can bear it, and the plan made for it.
    pub(super) fn draw(dice: &mut Dice, cause: &str, place: usize, plan: &mut Plan) -> Option<Self> {
        let away = [Some(Self::Never), Some(Self::CutOff), Some(Self::Stopped), None][dice.below(8).min(3) as usize]?;
        if NEEDS_A_REPORT.contains(&cause) {
            return None;
        }
        match away {
            Self::Never => plan.apps.get_mut(place)?.has_agent = false,
            Self::CutOff => plan.management = true,
            Self::Stopped => {}
        }
        Some(away)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Never => "blind",
            Self::CutOff => "cutoff",
            Self::Stopped => "unwatched",
        }
    }

    /// What must be said when all was told that ever will be.
    pub(super) fn in_the_end(self, expects: Vec<Expect>, told_by_gateway: bool) -> Vec<Expect> {
        if self == Self::CutOff { expects } else { unseen(expects, told_by_gateway) }
    }

    /// The story with what may be said before an agent that is cut off is back.
    pub(super) fn told_of(self, story: Story, host: &str) -> Story {
        if self != Self::CutOff {
            return story;
        }
        let expects = story.expects.clone();
        let until_then = expects
            .into_iter()
            .flat_map(|expect| if expect.host == host { unseen(vec![expect], false) } else { vec![expect] });
        until_then.fold(story.told_late().within(30), Story::until_then)
    }

    pub(super) fn leaves(self, world: &mut World, host: &str) -> Done {
        match self {
            Self::Never => Ok(()),
            Self::CutOff => world.management_cable(host, false),
            Self::Stopped => world.agent(host, false),
        }
    }

    pub(super) fn returns(self, world: &mut World, host: &str) -> Done {
        match self {
            Self::Never => Ok(()),
            Self::CutOff => world.management_cable(host, true),
            Self::Stopped => world.agent(host, true),
        }
    }
}

/// Expectations of what nobody on the application's host could see.
fn unseen(expects: Vec<Expect>, told_by_gateway: bool) -> Vec<Expect> {
    let one = |expect: Expect| {
        let expect = Expect { host: "", ..expect };
        match expect.cause {
            // Only its log, or its host, parts these from answers of another reason.
            "app_not_leader" | "app_task_timeout" | "app_cache_failure" => expect.or(&["app_unavailable"]),
            "disk_full" => expect.or(&["app_error"]),
            _ if told_by_gateway => expect,
            _ => expect.or(&["unknown"]),
        }
    };
    expects.into_iter().map(one).collect()
}
