//! From a case and the evidence around it to a verdict. One rule per cause, in one file per family; each looks at the same
//! scene and says how strongly the evidence supports its cause. The verdict is the ranking of what the rules say.
//! Pure: the same scene gives the same verdict.

mod advice;
mod application;
mod chain;
mod dependency;
mod gateway_side;
mod health_check;
mod host_down;
mod hung;
mod icmp;
mod inner;
mod instance_down;
mod link;
mod narrow;
mod network;
mod outage;
mod overload;
mod protocol;
mod restarting;
mod scene;
mod summary;
mod tries;
mod unit;

pub use scene::Scene;

use crate::model::{Cause, Evidence, Verdict};

/// Evidence that leaves no other reading: the gateway's signal and a fact of the same instance at the same time.
const PROVEN: f64 = 40.0;
/// The signal and counters or timing that fit.
const LIKELY: f64 = 8.0;
/// Fits, and so do others.
const POSSIBLE: f64 = 2.0;
/// The signal alone is compatible with it.
const COMPATIBLE: f64 = 0.6;
/// The weight of "none of these": a cause must outweigh it to be named.
const UNKNOWN: f64 = 1.0;
/// Below this probability the verdict is `unknown`.
const NAMED_FROM: f64 = 0.5;
/// `unknown` is never surer than this: that nothing was found yet is no proof that there is nothing.
const UNKNOWN_UP_TO: f64 = 0.8;
/// Alternatives below this probability are not told.
const TOLD_FROM: f64 = 0.01;
/// Of two proven causes the earlier one explains the later, which then keeps this share of its weight.
const CONSEQUENCE: f64 = 0.05;
/// Causes that began so close together can't be put in order, microseconds.
const SAME_TIME_US: i64 = 300_000;

/// What one rule says for its cause.
#[derive(Debug, Clone)]
pub struct Support {
    /// The cause.
    cause: Cause,
    /// How strongly the evidence speaks for it, as odds against `unknown`.
    weight: f64,
    /// When the cause began.
    began_us: i64,
    /// What it rests on.
    evidence: Vec<Evidence>,
    /// What would have made it surer.
    missing: Vec<String>,
}

impl Support {
    fn new(cause: Cause, weight: f64, began_us: i64) -> Self {
        Self { cause, weight, began_us, evidence: Vec::new(), missing: Vec::new() }
    }

    fn with(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn lacking(mut self, missing: impl Into<String>) -> Self {
        self.missing.push(missing.into());
        self
    }
}

type Rule = fn(&Scene) -> Option<Support>;

const RULES: &[&[Rule]] = &[
    instance_down::RULES,
    health_check::RULES,
    network::RULES,
    overload::RULES,
    restarting::RULES,
    protocol::RULES,
    gateway_side::RULES,
    application::RULES,
];

/// Judges a case.
pub fn classify(scene: &Scene) -> Verdict {
    let mut supports: Vec<Support> = RULES.iter().copied().flatten().filter_map(|rule| rule(scene)).collect();
    put_in_order(&mut supports);
    supports.sort_by(|one, other| other.weight.total_cmp(&one.weight).then(one.cause.cmp(&other.cause)));
    let total: f64 = UNKNOWN + supports.iter().map(|support| support.weight).sum::<f64>();
    let share = |support: &Support| round(support.weight / total);
    let named = supports.first().filter(|support| support.weight / total >= NAMED_FROM);
    let (cause, confidence) = match named {
        Some(support) => (support.cause, share(support)),
        None => (Cause::Unknown, round((UNKNOWN / total).min(UNKNOWN_UP_TO))),
    };
    let others = supports.iter().filter(|support| support.cause != cause);
    let alternatives = others.map(|support| (support.cause, share(support))).filter(|(_, p)| *p >= TOLD_FROM).collect();
    let mut evidence = vec![summary::gateway_said(scene)];
    match named {
        Some(support) => evidence.extend(support.evidence.iter().cloned()),
        None => {
            evidence.extend(supports.iter().take(3).flat_map(|support| support.evidence.iter().cloned()));
            evidence.extend(summary::checks(scene));
        }
    }
    evidence.sort_by_key(|evidence| evidence.at_us);
    evidence.dedup();
    let mut missing = summary::missing(scene, cause);
    missing.extend(named.iter().flat_map(|support| support.missing.iter().cloned()));
    Verdict { cause, confidence, alternatives, evidence, missing, advice: advice::advise(scene, cause, &supports) }
}

/// Of the proven causes the earliest explains the others, which are its consequences.
fn put_in_order(supports: &mut [Support]) {
    let proven = supports.iter().filter(|support| support.weight >= PROVEN);
    let Some(first_us) = proven.map(|support| support.began_us).min() else { return };
    for support in supports.iter_mut().filter(|support| support.began_us > first_us + SAME_TIME_US) {
        if support.weight >= PROVEN {
            support.weight *= CONSEQUENCE;
        }
    }
}

/// Probabilities are told to three digits: more would claim what is not known.
fn round(p: f64) -> f64 {
    (p * 1000.0).floor() / 1000.0
}
