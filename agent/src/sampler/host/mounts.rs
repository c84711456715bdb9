//! Room on the root and on every mount that a watched service can write to, one entry for each device, by its shortest path. Which
//! mounts these are is found anew every ten seconds and whenever other processes write; their room is asked at each sample.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use why502_proto::v1;

use crate::kernel::clock;
use crate::kernel::mount::{self, Mount};

/// Most mounts that are told.
const MOUNT_LIMIT: usize = 32;
/// The mounts of the writers are looked for again after so long.
const AGE_US: u64 = 10_000_000;

/// The mounts that count.
#[derive(Debug)]
pub struct Mounts {
    proc: PathBuf,
    found_us: Option<u64>,
    writers: Vec<(String, u32)>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    mount: Mount,
    /// Its path as this program reaches it.
    reached: PathBuf,
    services: Vec<String>,
}

impl Mounts {
    /// None found yet.
    pub fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), found_us: None, writers: Vec::new(), found: Vec::new() }
    }

    /// Their room now. `writers` are the watched services, each with a process of it whose mounts count.
    pub fn sample(&mut self, writers: &[(String, u32)]) -> Vec<v1::MountSample> {
        let now_us = clock::boottime_us();
        if self.writers != writers || self.found_us.is_none_or(|at_us| now_us.saturating_sub(at_us) >= AGE_US) {
            self.found = find(&self.proc, writers);
            (self.found_us, self.writers) = (Some(now_us), writers.to_vec());
        }
        self.found.iter().filter_map(room).collect()
    }
}

fn find(proc: &Path, writers: &[(String, u32)]) -> Vec<Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let own = mount::of_process(proc, std::process::id()).unwrap_or_default();
    if let Some(root) = own.into_iter().rfind(|m| m.path == "/") {
        let device = root.device.clone();
        found.insert(device, Found { mount: root, reached: PathBuf::from("/"), services: Vec::new() });
    }
    for (service, pid) in writers {
        for mount in mount::of_process(proc, *pid).unwrap_or_default() {
            if mount.read_only
                || !mount.holds_data()
                || (found.len() >= MOUNT_LIMIT && !found.contains_key(&mount.device))
            {
                continue;
            }
            let reached = mount::reach(proc, *pid, &mount.path);
            let entry = found.entry(mount.device.clone()).or_insert_with(|| Found {
                mount: mount.clone(),
                reached: reached.clone(),
                services: Vec::new(),
            });
            if mount.path.len() < entry.mount.path.len() {
                (entry.mount, entry.reached) = (mount, reached);
            }
            if !entry.services.contains(service) {
                entry.services.push(service.clone());
            }
        }
    }
    found.into_values().collect()
}

fn room(found: &Found) -> Option<v1::MountSample> {
    let room = mount::room(&found.reached).ok().filter(|room| room.total_bytes > 0)?;
    Some(v1::MountSample {
        path: found.mount.path.clone(),
        total_bytes: room.total_bytes,
        available_bytes: room.available_bytes,
        total_inodes: room.total_inodes,
        available_inodes: room.available_inodes,
        services: found.services.clone(),
        read_only: found.mount.read_only,
    })
}
