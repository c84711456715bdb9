//! Runs stories, each as process 1 of its own namespaces, a few side by side, and prints a table of how they went.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};

use super::cgroup::{self, Groups};
use super::enter::STORY;
use super::judge::{self, Outcome};
use super::report::{self, Row};
use super::slots::{Slot, Slots};
use super::story::{Story, THROTTLE};
use super::world::{self, Programs, World};
use super::{Doing, Done, ask, enter};
use crate::programs;

/// Longest that one story may take.
const STORY_LIMIT: Duration = Duration::from_secs(240);
/// Stories that wait for their incidents to be resolved hardly cost anything, so that many may live beside each busy one.
const ALIVE_FOR_EACH_BUSY: usize = 3;
/// What a lab that can't run answers, so that it is counted as skipped.
const SKIPPED: u8 = 77;

/// What the lab was asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// How often.
    pub rounds: usize,
    /// Busy stories side by side.
    pub jobs: usize,
    /// Journals go here.
    pub record: Option<PathBuf>,
    /// Folders of stories stay.
    pub keep: bool,
}

/// Runs what is wanted and tells how it went.
pub fn run(stories: Vec<Story>, wanted: &Wanted) -> Done<ExitCode> {
    if let Err(why) = enter::possible() {
        println!("lab skipped: no namespaces of our own: {why}");
        return Ok(ExitCode::from(SKIPPED));
    }
    Programs::find()?;
    cgroup::remove_stale();
    let lab = format!("why502-lab-{}", std::process::id());
    let dir = std::env::temp_dir().join(&lab);
    fs::create_dir_all(&dir).doing("lab folder")?;
    let groups = Groups::make(&lab);
    let over = stop_on_signal();
    let rows = all_of(&stories, &Lab { dir: &dir, groups: &groups, wanted, over: &over });
    if let Ok(groups) = &groups {
        groups.remove();
    }
    if !wanted.keep {
        fs::remove_dir_all(&dir).doing("remove the lab's folder")?;
    }
    Ok(report::tell(&rows, over.load(Ordering::Relaxed)))
}

/// What all stories of one lab share.
struct Lab<'a> {
    dir: &'a Path,
    groups: &'a Done<Groups>,
    wanted: &'a Wanted,
    over: &'a AtomicBool,
}

/// Plays every story as often as wanted.
fn all_of(stories: &[Story], lab: &Lab) -> Vec<Row> {
    let rows = Mutex::new(Vec::new());
    let (busy, alive) = (Slots::new(lab.wanted.jobs), Slots::new(lab.wanted.jobs * ALIVE_FOR_EACH_BUSY));
    thread::scope(|scope| {
        for (round, story) in (0..lab.wanted.rounds).flat_map(|round| stories.iter().map(move |story| (round, story))) {
            let (alive, busy) = (alive.take(), busy.take());
            if lab.over.load(Ordering::Relaxed) {
                break;
            }
            let rows = &rows;
            scope.spawn(move || {
                let row = one(story, round, lab, busy);
                drop(alive);
                println!("{}", report::line(&row));
                rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// SIGINT and SIGTERM end the lab after its stories were ended and cleaned up.
pub fn stop_on_signal() -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    if signals.thread_block().is_ok() {
        let over = over.clone();
        thread::spawn(move || {
            if signals.wait().is_ok() {
                over.store(true, Ordering::Relaxed);
            }
        });
    }
    over
}

/// What the machine lacks for a story.
fn lacks(story: &Story, dir: &Path, groups: &Done<Groups>) -> Option<String> {
    let runtimes = story.plan.apps.iter().map(|app| app.runtime.program());
    let gateway = story.plan.gateway.kind.program();
    if gateway == "apache2" && !nix::unistd::geteuid().is_root() {
        return Some("apache2 gives up root's rights for another user's, which only root may".to_owned());
    }
    let mut needs: Vec<&str> = runtimes.chain(["ip", gateway]).chain(story.needs.iter().copied()).collect();
    needs.dedup();
    needs.into_iter().find_map(|need| match (need, groups) {
        ("cgroups", Err(why)) => Some(format!("no control groups: {why}")),
        ("cgroups", Ok(_)) => None,
        (THROTTLE, Ok(groups)) => groups.throttles(dir).err(),
        (THROTTLE, Err(why)) => Some(format!("no control groups: {why}")),
        ("faketime", _) if programs::is_static(&programs::built("why502-agent")) => {
            Some("the agent beside the lab is static: nobody can bend its clock".to_owned())
        }
        (program, _) => (!on_path(program)).then(|| format!("{program} is not installed")),
    })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

/// Runs one story in a process of its own.
fn one(story: &Story, round: usize, lab: &Lab, busy: Slot) -> Row {
    let dir = lab.dir.join(format!("{}-{round}", story.name));
    let mut row = Row::of(story, round);
    row.skipped = lacks(story, lab.dir, lab.groups);
    if row.skipped.is_none() {
        row.result = match process(story, &dir, lab, busy) {
            Ok((result, output)) => {
                row.output = output;
                result
            }
            Err(fault) => json!({ "fault": fault }),
        };
    }
    if !lab.wanted.keep {
        // The lab's folder goes as a whole in the end anyway.
        let _ = fs::remove_dir_all(&dir);
    }
    row
}

fn process(story: &Story, dir: &Path, lab: &Lab, busy: Slot) -> Done<(Value, String)> {
    fs::create_dir_all(dir).doing("story folder")?;
    let out = dir.join("story.log");
    let log = fs::File::create(&out).doing("story.log")?;
    let own = std::env::current_exe().doing("own path")?;
    let mut command = Command::new(own);
    command.args(["--enter", STORY, "--story", &story.name, "--dir"]).arg(dir);
    if let Some(record) = &lab.wanted.record {
        command.arg("--record").arg(record).env(enter::RECORDS, "");
    }
    command.env("WHY502_LAB_GROUPS", format!("why502-lab-{}", std::process::id()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().doing("log")?)
        .stderr(log)
        .spawn()
        .doing("start the story")?;
    let (quiet, mut busy) = (dir.join(judge::QUIET), Some(busy));
    let ended = watch(&mut child, lab.over, STORY_LIMIT, || {
        if busy.is_some() && quiet.exists() {
            busy = None;
        }
    });
    let output = fs::read_to_string(&out).doing("story.log")?;
    let result = output.lines().rev().find_map(|line| serde_json::from_str(line.strip_prefix("RESULT ")?).ok());
    match (result, ended) {
        (Some(result), _) => Ok((result, output)),
        (None, Err(fault)) => Ok((json!({ "fault": fault }), output)),
        (None, Ok(_)) => Ok((json!({ "fault": "it ended without a result" }), output)),
    }
}

/// Waits for a child's end, and ends it when the lab is stopped or the time is over. Its exit code, if it has one.
pub fn wait(child: &mut Child, over: &AtomicBool, limit: Duration) -> Done<Option<i32>> {
    watch(child, over, limit, || {})
}

/// The same, with something to look at meanwhile.
fn watch(child: &mut Child, over: &AtomicBool, limit: Duration, mut look: impl FnMut()) -> Done<Option<i32>> {
    let until = Instant::now() + limit;
    loop {
        look();
        if let Some(status) = child.try_wait().doing("wait for the story")? {
            return Ok(status.code());
        }
        if over.load(Ordering::Relaxed) || Instant::now() > until {
            child.kill().doing("end the story")?;
            child.wait().doing("wait for the story")?;
            return Err("it took too long or was stopped".to_owned());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What process 1 of a story does: plays it and prints its result as the last line.
pub fn play(story: &Story, dir: &Path, record: Option<&Path>) -> Done<ExitCode> {
    enter::settle()?;
    let programs = Programs::find()?;
    let groups = std::env::var("WHY502_LAB_GROUPS").ok().and_then(|lab| Groups::make(&lab).ok());
    let groups = groups.map(|groups| groups.below(dir)).transpose()?;
    let mut outcome = Outcome::default();
    let mut played = World::start(story.plan.clone(), dir, &programs, groups).and_then(|mut world| {
        let played = judge::play(story, &mut world, &mut outcome);
        if played.is_err() {
            println!("incidents: {:#}", Value::Array(ask::incidents().unwrap_or_default()));
        }
        let live = ask::incidents();
        world.stop_collector()?;
        played.and_then(|()| replays(&live?, &world))
    });
    if let Err(fault) = &played {
        println!("fault: {fault}\n{}", world::tails(dir));
    }
    if let (Ok(()), Some(record)) = (&played, record) {
        played = keep(story, dir, record);
    }
    println!("RESULT {}", outcome.json(played.as_ref().err().map(String::as_str)));
    Ok(if played.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The journal gives again what the collector said live.
fn replays(live: &[Value], world: &World) -> Done {
    let store = world.dir.join("collector/store").display().to_string();
    let again: Value = serde_json::from_str(&world.ask(&["replay", &store, "--json"])?).doing("replay")?;
    let short = |incidents: &[Value]| -> Vec<Value> {
        let keys = ["id", "upstream", "cause", "count", "first_seen", "confidence"];
        incidents.iter().map(|one| keys.iter().map(|key| one[*key].clone()).collect()).collect()
    };
    let (live, again) = (short(live), short(again["incidents"].as_array().map_or(&[], Vec::as_slice)));
    if live == again { Ok(()) } else { Err(format!("replay differs: live {live:?}, replayed {again:?}")) }
}

/// Copies the journal and what must be said of it into the corpus.
fn keep(story: &Story, dir: &Path, record: &Path) -> Done {
    let (from, to) = (dir.join("collector/store/journal"), record.join(&story.name));
    let _ = fs::remove_dir_all(&to);
    copy(&from, &to.join("journal"))?;
    // The collector's own lock and what it can make again from the journal are no part of it.
    for made_again in ["lock", "checkpoint"] {
        let _ = fs::remove_file(to.join("journal").join(made_again));
    }
    let _ = fs::remove_dir_all(to.join("journal/past"));
    let label = json!({ "story": story.name, "incidents": story.labels() });
    fs::write(to.join("label.json"), format!("{label:#}\n")).doing("label.json")
}

fn copy(from: &Path, to: &Path) -> Done {
    fs::create_dir_all(to).doing("corpus folder")?;
    for entry in fs::read_dir(from).doing("journal")?.flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).doing("copy the journal").map(drop)?;
        }
    }
    Ok(())
}
