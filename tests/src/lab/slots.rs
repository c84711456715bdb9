//! A number of places, each taken by one at a time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The places.
#[derive(Debug, Clone)]
pub struct Slots(Arc<(Mutex<usize>, Condvar)>);

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Slot(Slots);

impl Slots {
    /// So many.
    pub fn new(count: usize) -> Self {
        Self(Arc::new((Mutex::new(count), Condvar::new())))
    }

    /// Takes one, once there is one.
    pub fn take(&self) -> Slot {
        let (free, freed) = &*self.0;
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot(self.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (free, freed) = &*self.0.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
}
