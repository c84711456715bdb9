//! The bounds of everything that comes from outside, and the time line that its times are put on.

use super::{Cuts, HOST_MAX};

/// Longest name of a service, gateway, process, sampler, bytes.
pub const NAME_MAX: usize = 256;
/// Longest line or sentence, bytes.
pub const LINE_MAX: usize = 2048;
/// Most events in one report.
pub const EVENTS_MAX: usize = 4096;
/// Most samplers of an agent.
pub const SAMPLERS_MAX: usize = 256;
/// Most services of a host.
pub const SERVICES_MAX: usize = 1024;
/// Most instances in one report.
pub const INSTANCES_MAX: usize = 1024;
/// Most pairs of gateway and upstream in one report.
pub const UPSTREAMS_MAX: usize = 4096;
/// Most gateway configurations in one report.
pub const GATEWAYS_MAX: usize = 64;
/// Most sources of gateways' lines in one report.
pub const SOURCES_MAX: usize = 256;
/// Most entries of any other list.
pub const LIST_MAX: usize = 512;
/// Longest interval that is believed, microseconds.
pub const INTERVAL_MAX_US: u64 = 3_600_000_000;
/// A corrected time so far after the time of receipt is not believed, microseconds.
const DAY_US: i64 = 86_400_000_000;
/// A corrected time so far before it is not believed: an agent may deliver what it held through a day without collector.
const PAST_US: i64 = 2 * DAY_US;
/// Largest ratio that is believed: more CPUs than any machine has.
const RATIO_MAX: f64 = 65_536.0;

/// Largest count that one reading can tell: sums of many stay far from overflowing.
const COUNT_MAX: u64 = u32::MAX as u64;
/// Longest stretch of time that is believed, microseconds (200 days; uptimes are longer and have their own).
const SPAN_MAX_US: u64 = 1 << 44;
/// Longest uptime that is believed, microseconds (a century).
const UPTIME_MAX_US: u64 = 100 * 365 * 86_400_000_000;
/// Largest size that is believed, bytes (a pebibyte).
const SIZE_MAX_BYTES: u64 = 1 << 50;
/// Farthest a host's clock is believed to be off, microseconds (a century).
const AHEAD_MAX_US: i64 = UPTIME_MAX_US as i64;

/// How far a host's clock is ahead, within what arithmetic bears.
pub fn ahead(ahead_us: i64) -> i64 {
    ahead_us.clamp(-AHEAD_MAX_US, AHEAD_MAX_US)
}

/// The collector's time line as seen from one host, with the counts of what had to be bounded.
pub struct Line<'a> {
    ahead_us: i64,
    received_us: i64,
    cuts: &'a mut Cuts,
}

impl<'a> Line<'a> {
    /// A host whose clock is `ahead_us` before the collector's.
    pub fn new(ahead_us: i64, received_us: i64, cuts: &'a mut Cuts) -> Self {
        Self { ahead_us, received_us, cuts }
    }

    /// A moment that the report is about: one that is absurd is taken for the time of receipt.
    pub fn at(&mut self, agent_us: i64) -> i64 {
        let at_us = agent_us.saturating_sub(self.ahead_us);
        let after_us = at_us.saturating_sub(self.received_us);
        if !(-PAST_US..=DAY_US).contains(&after_us) {
            self.cuts.times += 1;
            return self.received_us;
        }
        at_us
    }

    /// A moment that may lie far back, such as a start; it is never after tomorrow. 0 means none and stays.
    pub fn since(&mut self, agent_us: i64) -> i64 {
        if agent_us == 0 {
            return 0;
        }
        let at_us = agent_us.saturating_sub(self.ahead_us);
        if !(1..=self.received_us.saturating_add(DAY_US)).contains(&at_us) {
            self.cuts.times += 1;
            return self.received_us;
        }
        at_us
    }

    /// How often something happened.
    pub fn count(&self, count: u64) -> u64 {
        count.min(COUNT_MAX)
    }

    /// How long something took, microseconds.
    pub fn span(&self, span_us: u64) -> u64 {
        span_us.min(SPAN_MAX_US)
    }

    /// How long something took, where that is known, microseconds.
    pub fn took(&self, span_us: Option<u64>) -> Option<u64> {
        span_us.map(|span_us| self.span(span_us))
    }

    /// How long a host has been up, microseconds.
    pub fn uptime(&self, uptime_us: u64) -> u64 {
        uptime_us.min(UPTIME_MAX_US)
    }

    /// How large something is, bytes.
    pub fn size(&self, bytes: u64) -> u64 {
        bytes.min(SIZE_MAX_BYTES)
    }

    /// How large or how many, where that is known.
    pub fn amount(&self, amount: Option<u64>) -> Option<u64> {
        amount.map(|amount| self.size(amount))
    }

    /// By how much a clock was stepped, microseconds.
    pub fn step(&self, by_us: i64) -> i64 {
        ahead(by_us)
    }

    /// A host's name.
    pub fn host(&mut self, text: String) -> String {
        self.text(text, HOST_MAX)
    }

    /// A name.
    pub fn name(&mut self, text: String) -> String {
        self.text(text, NAME_MAX)
    }

    /// A line or a sentence.
    pub fn line(&mut self, text: String) -> String {
        self.text(text, LINE_MAX)
    }

    /// Several names.
    pub fn names(&mut self, texts: Vec<String>) -> Vec<String> {
        self.list(texts, LIST_MAX, Self::name)
    }

    fn text(&mut self, mut text: String, max: usize) -> String {
        if text.len() > max {
            self.cuts.texts += 1;
            text.truncate(text.floor_char_boundary(max));
            text.shrink_to_fit();
        }
        text
    }

    /// A share or a number of CPUs; what is no number or below 0 was not read.
    pub fn ratio(&mut self, ratio: Option<f64>) -> Option<f64> {
        ratio.filter(|value| value.is_finite() && *value >= 0.0).map(|value| value.min(RATIO_MAX))
    }

    /// The first `max` entries.
    pub fn list<T, U>(&mut self, entries: Vec<T>, max: usize, mut one: impl FnMut(&mut Self, T) -> U) -> Vec<U> {
        self.cuts.entries += entries.len().saturating_sub(max) as u64;
        entries.into_iter().take(max).map(|entry| one(self, entry)).collect()
    }

    /// Something that this collector does not know.
    pub fn unknown(&mut self) {
        self.cuts.unknown += 1;
    }
}
