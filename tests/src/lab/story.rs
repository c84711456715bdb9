//! A story: a world, one fault, what must be said of it, and the way back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Done;
use super::plan::{Kind, Plan};
use super::world::World;

/// What a story needs that has a disk slowed down: control groups that do that, and a disk below the lab's folder.
pub const THROTTLE: &str = "slow disks";

/// Something done to a world.
pub type Act = Arc<dyn Fn(&mut World) -> Done + Send + Sync>;

/// What must be said of one upstream.
#[derive(Debug, Clone)]
pub struct Expect {
    /// The cause.
    pub cause: &'static str,
    /// What may be said instead, where nobody can know better or both are true.
    pub or: Vec<&'static str>,
    /// The address the gateway tried.
    pub upstream: String,
    /// The instance's host; empty where nobody can know it.
    pub host: &'static str,
    /// Each must stand in some evidence; `|` parts ways to say it.
    pub cites: Vec<&'static str>,
    /// Each must stand in some advice; `|` parts ways to say it.
    pub advises: Vec<&'static str>,
    /// What the advice must name of a gateway of that kind, as `advises`.
    pub settings: Vec<(Kind, &'static str)>,
    /// Each must stand in what was missing.
    pub misses: Vec<&'static str>,
}

impl Expect {
    /// A cause at the address of the host `app-N`.
    pub fn new(cause: &'static str, host: &'static str, number: u8) -> Self {
        let upstream = super::world::upstream(number);
        let (cites, advises, settings, misses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { cause, or: Vec::new(), upstream, host, cites, advises, settings, misses }
    }

    /// The same at another address. Empty: no record tells the upstream.
    pub fn at(mut self, upstream: &str) -> Self {
        self.upstream = upstream.to_owned();
        self
    }

    /// What may be said instead.
    pub fn or(mut self, causes: &[&'static str]) -> Self {
        self.or.extend_from_slice(causes);
        self
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

    /// The gateway's own setting that must be named.
    pub fn advises_setting(mut self, settings: &[(Kind, &'static str)]) -> Self {
        self.settings = settings.to_vec();
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
    /// Its name; `NAME@GATEWAY` where it was moved behind another gateway.
    pub name: String,
    /// Gateways beside its own that it is told of too.
    pub gateways: Vec<Kind>,
    /// Its world.
    pub plan: Plan,
    /// What must be said, of nobody else anything. Empty: nothing may be said at all.
    pub expects: Vec<Expect>,
    /// Programs that the machine must have, or "cgroups", or `THROTTLE`.
    pub needs: Vec<&'static str>,
    /// Breaks it.
    pub fault: Act,
    /// Mends it.
    pub heal: Act,
    /// The right cause can be known only once it is mended.
    pub told_late: bool,
    /// What must be said until then, where that is known.
    pub until_told: Vec<Expect>,
    /// Time for the right cause.
    pub limit: Duration,
    /// The least share of the client's bad answers that incidents must count.
    pub least_counted: f64,
}

impl Story {
    /// A story of two Node.js applications behind nginx.
    pub fn new(name: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            gateways: Vec::new(),
            plan: Plan::default(),
            expects: Vec::new(),
            needs: Vec::new(),
            fault: Arc::new(|_| Ok(())),
            heal: Arc::new(|_| Ok(())),
            told_late: false,
            until_told: Vec::new(),
            limit: Duration::from_secs(20),
            least_counted: 0.5,
        }
    }

    /// What must be said in the end, as the corpus keeps it.
    pub fn labels(&self) -> Vec<Value> {
        self.labels_of(&self.expects)
    }

    /// Expectations as labels, of the gateway that this is told of.
    pub fn labels_of(&self, expects: &[Expect]) -> Vec<Value> {
        let kind = self.plan.gateway.kind;
        let label = |expect: &Expect| {
            let settings = expect.settings.iter().filter(|(of, _)| *of == kind).map(|(_, setting)| *setting);
            let advice: Vec<&str> = expect.advises.iter().copied().chain(settings).collect();
            let mut label = json!({
                "upstream": (!expect.upstream.is_empty()).then_some(&expect.upstream), "cause": expect.cause, "host": expect.host,
                "evidence": expect.cites, "advice": advice, "missing": expect.misses,
            });
            if !expect.or.is_empty() {
                label["or"] = json!(expect.or);
            }
            label
        };
        expects.iter().map(label).collect()
    }

    /// It is told of these gateways too.
    pub fn also(mut self, gateways: &[Kind]) -> Self {
        self.gateways = gateways.to_vec();
        self
    }

    /// It is told of every gateway.
    pub fn everywhere(self) -> Self {
        self.also(&Kind::ALL)
    }

    /// Itself and what it is behind the other gateways.
    pub fn spread(self) -> Vec<Self> {
        let own = self.plan.gateway.kind;
        let others = self.gateways.clone().into_iter().filter(|kind| *kind != own);
        let moved: Vec<Self> = others.map(|kind| self.behind(kind)).collect();
        [vec![self], moved].concat()
    }

    /// The same where the gateway reaches its applications over IPv6.
    pub fn over_ipv6(mut self) -> Self {
        for app in &mut self.plan.apps {
            let before = app.address();
            app.ipv6 = true;
            app.env.push(("BIND", "::".to_owned()));
            for expect in self.expects.iter_mut().chain(&mut self.until_told).filter(|one| one.upstream == before) {
                expect.upstream = app.address();
            }
        }
        self.name += "_ipv6";
        self
    }

    fn behind(&self, kind: Kind) -> Self {
        let mut moved = self.clone();
        moved.plan.gateway.kind = kind;
        moved.name = format!("{}@{}", self.name, kind.id());
        moved
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
    pub fn fault(mut self, fault: impl Fn(&mut World) -> Done + Send + Sync + 'static) -> Self {
        self.fault = Arc::new(fault);
        self
    }

    /// What mends.
    pub fn heal(mut self, heal: impl Fn(&mut World) -> Done + Send + Sync + 'static) -> Self {
        self.heal = Arc::new(heal);
        self
    }

    /// Time for the right cause.
    pub fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// The right cause can be known only once it is mended.
    pub fn told_late(mut self) -> Self {
        self.told_late = true;
        self
    }

    /// What must be said until the right cause can be known.
    pub fn until_then(mut self, expect: Expect) -> Self {
        self.until_told.push(expect);
        self
    }

    /// Clients are served by another member, so their answers do not tell the failures.
    pub fn clients_unharmed(mut self) -> Self {
        self.least_counted = 0.0;
        self
    }
}
