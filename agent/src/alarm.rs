//! Waits that end together: one timer of the kernel's, set to the first of them, and all that end within a moment of it end
//! with it. tokio's own timers wake a program twice for a wait of more than 64 ms and three times for one of more than 4 s, to
//! turn its wheel, and being woken is most of what an agent costs on a quiet host. They serve where the kernel gives no timer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::wakeful::{ready, wakeful};

/// The timer goes off so long after the first wait is over, for those that end right after it. No wait ends early.
const TOGETHER: Duration = Duration::from_millis(1);

thread_local! {
    /// That of the runtime which this thread runs.
    static CURRENT: RefCell<Option<Arc<Alarm>>> = const { RefCell::new(None) };
}

/// Waits until a time.
pub async fn sleep_until(at: Instant) {
    match Alarm::current() {
        Some(alarm) => Wait { alarm, at, number: None }.await,
        None => tokio::time::sleep_until(at.into()).await,
    }
}

/// The timer and who waits for it.
struct Alarm {
    timer: TimerFd,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    /// In the order in which they end; the number tells apart those that end at one time.
    wakers: BTreeMap<(Instant, u64), Waker>,
    begun: u64,
    /// The first one when the timer was set. None: it is not set.
    set_to: Option<Instant>,
    /// The runtime that served them is gone.
    over: bool,
}

impl Alarm {
    /// The one of this thread's runtime, begun where there is none yet.
    fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow_mut(|current| {
            if current.as_ref().is_none_or(|alarm| alarm.waits().over) {
                *current = Self::begin();
            }
            current.clone()
        })
    }

    fn begin() -> Option<Arc<Self>> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC).ok()?;
        let goes_off = wakeful(std::os::fd::AsFd::as_fd(&timer).try_clone_to_owned().ok())?;
        let alarm = Arc::new(Self { timer, waits: Mutex::default() });
        runtime.spawn(serve(Serving(Arc::clone(&alarm)), goes_off));
        Some(alarm)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer to the first wait, where it is not set to that or an earlier one.
    fn set(&self, waits: &mut Waits) {
        let Some((first, _)) = waits.wakers.keys().next().copied() else { return };
        if waits.set_to.is_some_and(|set_to| set_to <= first) {
            return;
        }
        let left = (first + TOGETHER).saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        if self.timer.set(once, TimerSetTimeFlags::empty()).is_ok() {
            waits.set_to = Some(first);
        }
    }

    /// The timer went off: ends the waits that are over.
    fn ring(&self) {
        let mut waits = self.waits();
        let later = waits.wakers.split_off(&(Instant::now(), u64::MAX));
        let over = std::mem::replace(&mut waits.wakers, later);
        waits.set_to = None;
        self.set(&mut waits);
        drop(waits);
        over.into_values().for_each(Waker::wake);
    }
}

async fn serve(serving: Serving, goes_off: AsyncFd<OwnedFd>) {
    loop {
        ready(Some(&goes_off)).await;
        serving.0.ring();
    }
}

/// Tells when the runtime that serves an alarm is gone.
struct Serving(Arc<Alarm>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.waits().over = true;
    }
}

/// One wait.
struct Wait {
    alarm: Arc<Alarm>,
    at: Instant,
    number: Option<u64>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let alarm = Arc::clone(&self.alarm);
        let mut waits = alarm.waits();
        let number = *self.number.get_or_insert(waits.begun);
        waits.begun = waits.begun.max(number + 1);
        waits.wakers.insert((self.at, number), context.waker().clone());
        alarm.set(&mut waits);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.alarm.waits().wakers.remove(&(self.at, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn every_wait_ends_and_none_early() {
        let began = Instant::now();
        let mut waits = tokio::task::JoinSet::new();
        for after in [90 * MS, 30 * MS, 60 * MS, Duration::ZERO] {
            waits.spawn(async move {
                sleep_until(began + after).await;
                (after, began.elapsed())
            });
        }
        for (after, took) in waits.join_all().await {
            assert!(took >= after && took < after + 10_000 * MS, "{after:?}: {took:?}");
        }
    }

    #[tokio::test]
    async fn those_that_end_within_a_moment_end_together() {
        let at = Instant::now() + 1_000 * MS;
        let (first, other) = (sleep_until(at), sleep_until(at + TOGETHER / 4));
        tokio::pin!(first, other);
        assert!(look_at(first.as_mut()).await.is_pending() && look_at(other.as_mut()).await.is_pending());
        first.as_mut().await;
        assert!(look_at(other.as_mut()).await.is_ready());
    }

    /// What one look at a future gives.
    async fn look_at(mut future: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
    }

    #[tokio::test]
    async fn a_wait_given_up_is_forgotten() {
        let far = Instant::now() + 3_600_000 * MS;
        let given_up = tokio::time::timeout(5 * MS, sleep_until(far)).await;
        assert!(given_up.is_err());
        let alarm = Alarm::current().unwrap();
        assert!(alarm.waits().wakers.is_empty());
        // The timer, set to the hour, goes by what is first by now.
        sleep_until(Instant::now() + 5 * MS).await;
    }

    #[test]
    fn the_next_runtime_of_a_thread_has_its_own() {
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(sleep_until(Instant::now() + 5 * MS));
        }
    }
}
