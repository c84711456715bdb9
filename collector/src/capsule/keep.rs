//! The folder of capsules: made a moment after an incident is resolved, kept for longer than the journal, bounded in age
//! and size. What could not be kept is told and can be made by whoever asks while the journal holds its records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tracing::warn;

use super::make::make;
use crate::engine::Handle;
use crate::journal::{rename_durably, write_durably};
use crate::model::Incident;
use crate::view::View;

pub use crate::journal::Limits;

/// Incidents that were resolved are looked for so often.
const ROUND: Duration = Duration::from_secs(5);
/// Most capsules made in one round: making them must not be felt.
const ROUND_MAX: usize = 2;
/// What was resolved longer ago is not made any more by itself, microseconds.
const CATCH_UP_US: i64 = 24 * 3600 * 1_000_000;
/// One that failed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(600);
/// What is too old or too much is looked for so often.
const PRUNE: Duration = Duration::from_secs(600);
/// Longest id of an incident, bytes: its letters and digits are a file's name.
pub const ID_MAX: usize = 64;

/// Why there is no capsule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No incident has that id.
    #[error("no incident {0} is known, and no capsule of it is kept")]
    Unknown(String),
    /// It can't be made any more, or not be read.
    #[error("{0}")]
    Failed(String),
}

/// The capsules of a collector.
pub struct Capsules {
    dir: PathBuf,
    limits: Limits,
    engine: Handle,
}

impl Capsules {
    /// Those in `dir`, and those that can be made of what the engine keeps.
    pub fn new(dir: PathBuf, limits: Limits, engine: Handle) -> Self {
        Self { dir, limits, engine }
    }

    /// The bytes of an incident's capsule: the one that is kept, or one made now.
    pub async fn get(&self, id: &str) -> Result<Vec<u8>, Fault> {
        let unknown = || Fault::Unknown(id.chars().take(ID_MAX).collect());
        let path = path(&self.dir, id).ok_or_else(unknown)?;
        let kept = tokio::task::spawn_blocking(move || fs::read(path)).await;
        if let Ok(bytes) = kept.map_err(|error| Fault::Failed(error.to_string()))? {
            return Ok(bytes);
        }
        let view = self.engine.view();
        let incident = view.incidents.iter().find(|one| one.id == id).cloned().ok_or_else(unknown)?;
        self.make(view, incident).await.map_err(Fault::Failed)
    }

    async fn make(&self, view: Arc<View>, incident: Arc<Incident>) -> Result<Vec<u8>, String> {
        let made = self.engine.read_past(move |past| make(past, &view, &incident).map(|capsule| capsule.to_bytes()));
        made.await?.map_err(|error| error.to_string())?
    }

    /// Keeps capsules of what is resolved until `closing` turns true.
    pub async fn keep(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(ROUND) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            let view = self.engine.view();
            for incident in seen.wanted(&self.dir, &view) {
                match self.keep_one(&view, &incident).await {
                    Ok(()) => seen.kept.insert(incident.id.clone()),
                    Err(why) => {
                        warn!("capsule of incident {}: {why}", incident.id);
                        seen.failed.insert(incident.id.clone(), Instant::now()).is_some()
                    }
                };
            }
            if seen.pruned.is_none_or(|at| at.elapsed() >= PRUNE) {
                seen.pruned = Some(Instant::now());
                self.prune(view.stats.aging_us)
                    .await
                    .unwrap_or_else(|why| warn!("capsules: {}: {why}", self.dir.display()));
            }
        }
    }

    async fn prune(&self, now_us: i64) -> Result<(), String> {
        let (dir, limits) = (self.dir.clone(), self.limits);
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(now_us).unwrap_or(0));
        let pruned = tokio::task::spawn_blocking(move || prune(&dir, limits, now)).await;
        pruned.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn keep_one(&self, view: &Arc<View>, incident: &Arc<Incident>) -> Result<(), String> {
        let path = path(&self.dir, &incident.id).ok_or("its id is no file's name")?;
        let bytes = self.make(view.clone(), incident.clone()).await?;
        let written = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// What the keeper remembers from round to round.
#[derive(Default)]
struct Seen {
    /// Incidents whose capsules are kept.
    kept: BTreeSet<String>,
    /// Incidents whose capsules could not be kept, and when that was tried.
    failed: BTreeMap<String, Instant>,
    /// When the folder was last pruned.
    pruned: Option<Instant>,
}

impl Seen {
    /// Resolved incidents without a capsule, at most as many as are made in one round.
    fn wanted(&mut self, dir: &Path, view: &View) -> Vec<Arc<Incident>> {
        let fresh =
            |one: &Incident| one.resolved_us.is_some_and(|at_us| view.at_us.saturating_sub(at_us) < CATCH_UP_US);
        let resolved: Vec<&Arc<Incident>> = view.incidents.iter().filter(|one| fresh(one)).collect();
        let known: BTreeSet<&str> = resolved.iter().map(|one| one.id.as_str()).collect();
        self.kept.retain(|id| known.contains(id.as_str()));
        self.failed.retain(|_, at| at.elapsed() < AGAIN);
        let mut wanted = Vec::new();
        for one in resolved {
            if self.kept.contains(&one.id) || self.failed.contains_key(&one.id) {
                continue;
            }
            if path(dir, &one.id).is_some_and(|path| path.exists()) {
                self.kept.insert(one.id.clone());
            } else if wanted.len() < ROUND_MAX {
                wanted.push(one.clone());
            }
        }
        wanted
    }
}

/// Where an incident's capsule is kept. None: no incident has such an id.
fn path(dir: &Path, id: &str) -> Option<PathBuf> {
    let plain = !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| dir.join(format!("{id}.tar.gz")))
}

/// Writes a file under another name first, so that nobody finds half of it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let fresh = path.with_extension("new");
    let written = write_durably(&fresh, bytes).and_then(|()| rename_durably(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    path: PathBuf,
    age: Duration,
    bytes: u64,
}

/// Removes what the limits let go.
fn prune(dir: &Path, limits: Limits, now: SystemTime) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut kept = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let age = now.duration_since(metadata.modified()?).unwrap_or_default();
        kept.push(Kept { path: entry.path(), age, bytes: metadata.len() });
    }
    outdated(kept, limits).iter().try_for_each(fs::remove_file)
}

/// The files that go: those too old, and the oldest while all together are too large.
fn outdated(mut kept: Vec<Kept>, limits: Limits) -> Vec<PathBuf> {
    kept.sort_by(|a, b| (b.age, &a.path).cmp(&(a.age, &b.path)));
    let mut left: u64 = kept.iter().map(|one| one.bytes).sum();
    let mut gone = Vec::new();
    for one in kept {
        if one.age <= limits.max_age && left <= limits.max_bytes {
            break;
        }
        left -= one.bytes;
        gone.push(one.path);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_by_age_and_by_size() {
        let kept = |days: u64, bytes| Kept {
            path: PathBuf::from(format!("{days}")),
            age: Duration::from_secs(days * 86_400),
            bytes,
        };
        let gone = |max_days: u64, max_bytes| {
            let limits = Limits { max_age: Duration::from_secs(max_days * 86_400), max_bytes };
            let gone = outdated(vec![kept(1, 10), kept(91, 10), kept(5, 10), kept(90, 10)], limits);
            gone.iter().map(|path| path.to_str().unwrap().parse().unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(gone(90, 100), [91]);
        assert_eq!(gone(100, 40), [0; 0]);
        assert_eq!(gone(100, 25), [91, 90]);
        assert_eq!(gone(4, 0), [91, 90, 5, 1]);
    }

    #[test]
    fn no_id_leads_out_of_the_folder() {
        let dir = Path::new("/kept");
        assert_eq!(path(dir, "01ABC").unwrap(), Path::new("/kept/01ABC.tar.gz"));
        for id in ["", "..", "../x", "a/b", "a.b", "a\0", &"a".repeat(65)] {
            assert_eq!(path(dir, id), None, "{id:?}");
        }
    }
}
