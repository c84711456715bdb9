//! What one host's history may weigh. Names, samples and events have their own bounds, but all of them together and each as
//! large as it may be would be gigabytes: a host that says so much has its past thinned until it fits, which is counted.

use std::collections::VecDeque;
use std::mem::size_of_val;
use std::sync::Arc;

use super::History;
use super::track::{Reading, Track};
use crate::model::{Event, HostSample, InstanceSample, Report, UpstreamSample};

/// The most that is kept, bytes of memory.
const BYTES_MAX: usize = 16 << 20;
/// It is weighed again after so many more.
const WEIGHED_AFTER: usize = BYTES_MAX / 8;
/// The newest of each kind stay whole, as long as thinning the others is enough.
const WHOLE: usize = 60;

/// Bytes of memory, near enough: what a list or a text holds counts, what surrounds it does not.
pub(super) trait Weigh {
    fn bytes(&self) -> usize;
}

impl Weigh for HostSample {
    fn bytes(&self) -> usize {
        let services = |one: &[String]| one.iter().map(|name| name.len() + 24).sum::<usize>();
        let mounts = self.mounts.iter().map(|one| one.path.len() + services(&one.services)).sum::<usize>();
        let interfaces = self.interfaces.iter().map(|one| one.name.len() + services(&one.addresses)).sum::<usize>();
        size_of_val(self) + size_of_val(&*self.mounts) + size_of_val(&*self.interfaces) + mounts + interfaces
    }
}

impl Weigh for InstanceSample {
    fn bytes(&self) -> usize {
        let processes = self.processes.iter();
        let texts = processes.map(|one| one.name.len() + one.thread_states.len() + one.waits_in.len()).sum::<usize>();
        let addresses = self.listeners.iter().map(|one| one.address.len()).sum::<usize>();
        size_of_val(self) + size_of_val(&*self.processes) + size_of_val(&*self.listeners) + texts + addresses
    }
}

impl Weigh for UpstreamSample {
    fn bytes(&self) -> usize {
        size_of_val(self) + self.gateway.len() + self.upstream.len() + self.unparsed_sample.len()
    }
}

impl Weigh for Event {
    fn bytes(&self) -> usize {
        // Of a dozen kinds, each with texts of its own: as long as they are when they are written out.
        let texts = postcard::serialize_with_flavor(self, postcard::ser_flavors::Size::default()).unwrap_or(0);
        size_of_val(self) + texts
    }
}

fn weigh<'a, T: Weigh + 'a>(items: impl IntoIterator<Item = &'a T>) -> usize {
    items.into_iter().map(Weigh::bytes).sum()
}

impl History {
    /// Times that it was thinned.
    pub fn thinned(&self) -> u64 {
        self.thinned
    }

    /// Thins it where it weighs too much with what a report has added.
    pub(super) fn fit(&mut self, report: &Report) {
        let readings = weigh(report.host_sample.as_deref()) + weigh(report.instances.iter().map(Arc::as_ref));
        self.added_bytes += readings + weigh(&report.upstreams) + weigh(&report.events);
        if self.added_bytes < WEIGHED_AFTER {
            return;
        }
        self.added_bytes = 0;
        let mut bytes = self.bytes();
        if bytes > BYTES_MAX {
            self.thinned += 1;
        }
        for whole in [WHOLE, 1] {
            while bytes > BYTES_MAX {
                self.thin(whole);
                let before = std::mem::replace(&mut bytes, self.bytes());
                if bytes == before {
                    break;
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        let events = [&self.lives, &self.chatter, &self.views].into_iter().map(weigh).sum::<usize>();
        let instances = self.instance_samples.values().map(Track::bytes).sum::<usize>();
        events + instances + self.host_samples.bytes() + self.upstream_samples.values().map(weigh).sum::<usize>()
    }

    fn thin(&mut self, whole: usize) {
        [&mut self.lives, &mut self.chatter, &mut self.views].into_iter().for_each(|events| thin(events, whole));
        thin_track(&mut self.host_samples, whole);
        self.instance_samples.values_mut().for_each(|samples| thin_track(samples, whole));
        self.upstream_samples.values_mut().for_each(|samples| thin(samples, whole));
    }
}

fn thin<T>(items: &mut VecDeque<T>, whole: usize) {
    let mut stays = every_second(items.len(), whole);
    items.retain(|_| stays());
    items.shrink_to_fit();
}

fn thin_track<T: Reading>(track: &mut Track<T>, whole: usize) {
    let mut stays = every_second(track.len(), whole);
    track.retain(|_| stays());
}

/// Tells of each of so many, from the oldest on, whether it stays: every second one does, and the newest.
fn every_second(count: usize, whole: usize) -> impl FnMut() -> bool {
    let mut age = count;
    move || {
        age -= 1;
        age < whole || !(age - whole).is_multiple_of(2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Readings;
    use super::*;
    use crate::model::{EventKind, KernelNote, ProcessSample};

    #[test]
    fn the_newest_stay_and_the_others_are_halved() {
        let mut items: VecDeque<u32> = (0..10).collect();
        thin(&mut items, 2);
        assert_eq!(items, [0, 2, 4, 6, 8, 9]);
        thin(&mut items, 1);
        thin(&mut items, 1);
        thin(&mut items, 1);
        assert_eq!(items, [9], "down to the newest");
    }

    /// A report of 50 services with as many processes as are told, at a second.
    fn report(second: i64) -> Report {
        let process = ProcessSample::default();
        let instance = |number| {
            let (service, at_us) = (format!("service-{number}"), second * 1_000_000);
            let processes = vec![process.clone(); 64];
            InstanceSample { service, at_us, processes, ..InstanceSample::default() }.into()
        };
        let note = KernelNote { line: "x".repeat(2_000), ..KernelNote::default() };
        let event = Event { at_us: second * 1_000_000, kind: EventKind::KernelNote(note) };
        Report { instances: (0..50).map(instance).collect(), events: vec![event], ..Report::default() }
    }

    #[test]
    fn a_host_that_says_too_much_has_its_past_thinned() {
        let mut history = History::default();
        for second in 1..=100 {
            let report = report(second);
            history.report(&report, Readings::of(&report), second * 1_000_000);
        }
        assert!(history.thinned() > 0 && history.bytes() <= BYTES_MAX + WEIGHED_AFTER);
        let seconds: Vec<i64> =
            history.instance_samples("service-7", 0, i64::MAX).map(|one| one.at_us / 1_000_000).collect();
        let gaps: Vec<i64> = seconds.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.len() > 10 && seconds.ends_with(&[99, 100]), "the newest are whole: {seconds:?}");
        assert!(gaps[0] > 1 && gaps.is_sorted_by(|older, newer| older >= newer), "the older, the thinner: {seconds:?}");
    }

    #[test]
    fn what_a_host_says_as_a_rule_is_kept_whole() {
        let mut history = History::default();
        for second in 1..=600 {
            let one = InstanceSample {
                at_us: second * 1_000_000,
                processes: vec![ProcessSample::default(); 8],
                ..InstanceSample::default()
            };
            let report = Report { instances: vec![one.into()], ..Report::default() };
            history.report(&report, Readings::of(&report), second * 1_000_000);
        }
        assert_eq!((history.thinned(), history.instance_samples("", 0, i64::MAX).count()), (0, 600));
    }
}
