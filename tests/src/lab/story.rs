//! A story: a world, one fault, what must be said of it, and the way back.

use std::time::Duration;

use serde_json::{Value, json};

use super::Done;
use super::plan::Plan;
use super::world::World;

/// Something done to a world.
pub type Act = fn(&mut World) -> Done;

/// What must be said of one upstream.
#[derive(Debug, Clone)]
pub struct Expect {
    /// The cause.
    pub cause: &'static str,
    /// The address the gateway tried.
    pub upstream: String,
    /// The instance's host; empty where nobody can know it.
    pub host: &'static str,
    /// Each must stand in some evidence; `|` parts ways to say it.
    pub cites: Vec<&'static str>,
    /// Each must stand in some advice; `|` parts ways to say it.
    pub advises: Vec<&'static str>,
    /// Each must stand in what was missing.
    pub misses: Vec<&'static str>,
}

impl Expect {
    /// A cause at the address of the host `app-N`.
    pub fn new(cause: &'static str, host: &'static str, number: u8) -> Self {
        let upstream = super::world::upstream(number);
        Self { cause, upstream, host, cites: Vec::new(), advises: Vec::new(), misses: Vec::new() }
    }

    /// Evidence that must be cited.
    pub fn cites(mut self, cites: &[&'static str]) -> Self {
        self.cites = cites.to_vec();
        self
    }

    /// Fixes that must be named.
    pub fn advises(mut self, advises: &[&'static str]) -> Self {
        self.advises = advises.to_vec();
        self
    }

    /// Blind spots that must be told.
    pub fn misses(mut self, misses: &[&'static str]) -> Self {
        self.misses = misses.to_vec();
        self
    }
}

/// One story of the lab.
#[derive(Clone)]
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// Its world.
    pub plan: Plan,
    /// What must be said, of nobody else anything. Empty: nothing may be said at all.
    pub expects: Vec<Expect>,
    /// Programs that the machine must have, or "cgroups".
    pub needs: Vec<&'static str>,
    /// Breaks it.
    pub fault: Act,
    /// Mends it.
    pub heal: Act,
    /// The right cause can be known only once it is mended.
    pub told_late: bool,
    /// Time for the right cause.
    pub limit: Duration,
    /// The least share of the client's bad answers that incidents must count.
    pub least_counted: f64,
}

impl Story {
    /// A story of two Node.js applications behind nginx.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            plan: Plan::default(),
            expects: Vec::new(),
            needs: Vec::new(),
            fault: |_| Ok(()),
            heal: |_| Ok(()),
            told_late: false,
            limit: Duration::from_secs(20),
            least_counted: 0.5,
        }
    }

    /// What must be said, as the corpus keeps it.
    pub fn labels(&self) -> Vec<Value> {
        let label = |expect: &Expect| {
            json!({
                "upstream": expect.upstream, "cause": expect.cause, "host": expect.host,
                "evidence": expect.cites, "advice": expect.advises, "missing": expect.misses,
            })
        };
        self.expects.iter().map(label).collect()
    }

    /// With another world.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Further things the machine must have.
    pub fn needs(mut self, needs: &[&'static str]) -> Self {
        self.needs.extend_from_slice(needs);
        self
    }

    /// What must be said.
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expects.push(expect);
        self
    }

    /// What breaks.
    pub fn fault(mut self, fault: Act) -> Self {
        self.fault = fault;
        self
    }

    /// What mends.
    pub fn heal(mut self, heal: Act) -> Self {
        self.heal = heal;
        self
    }

    /// The right cause can be known only once it is mended.
    pub fn told_late(mut self) -> Self {
        self.told_late = true;
        self
    }

    /// Clients are served by another member, so their answers do not tell the failures.
    pub fn clients_unharmed(mut self) -> Self {
        self.least_counted = 0.0;
        self
    }
}
