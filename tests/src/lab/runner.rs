//! Runs stories, each as process 1 of its own namespaces, a few side by side, and prints a table of how they went.

use std::collections::VecDeque;
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
use super::story::Story;
use super::world::{self, Programs, World};
use super::{Doing, Done, ask, enter};

/// Longest that one story may take.
const STORY_LIMIT: Duration = Duration::from_secs(240);
/// What a lab that can't run answers, so that it is counted as skipped.
const SKIPPED: u8 = 77;

/// What the lab was asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Parts of names; empty: all.
    pub only: Vec<String>,
    /// How often.
    pub rounds: usize,
    /// Stories side by side.
    pub jobs: usize,
    /// Journals go here.
    pub record: Option<PathBuf>,
    /// Folders of stories stay.
    pub keep: bool,
}

/// One run of a story.
struct Row {
    name: &'static str,
    expected: String,
    result: Value,
    skipped: Option<String>,
    output: String,
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
    let chosen: Vec<Story> = stories
        .into_iter()
        .filter(|story| wanted.only.is_empty() || wanted.only.iter().any(|part| story.name.contains(part.as_str())))
        .collect();
    let queue: VecDeque<(usize, Story)> =
        (0..wanted.rounds).flat_map(|round| chosen.iter().map(move |story| (round, story.clone()))).collect();
    let (queue, rows) = (Mutex::new(queue), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..wanted.jobs {
            scope.spawn(|| {
                while let Some((round, story)) = next(&queue, &over) {
                    let row = one(&story, &dir.join(format!("{}-{round}", story.name)), &groups, wanted, &over);
                    println!("{}", line(&row));
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    if let Ok(groups) = &groups {
        groups.remove();
    }
    if !wanted.keep {
        fs::remove_dir_all(&dir).doing("remove the lab's folder")?;
    }
    Ok(tell(&rows.into_inner().unwrap_or_else(PoisonError::into_inner), over.load(Ordering::Relaxed)))
}

fn next(queue: &Mutex<VecDeque<(usize, Story)>>, over: &AtomicBool) -> Option<(usize, Story)> {
    if over.load(Ordering::Relaxed) {
        return None;
    }
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
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
fn lacks(story: &Story, groups: &Done<Groups>) -> Option<String> {
    let gateway = match story.plan.gateway.kind {
        super::plan::Kind::Nginx => "nginx",
        super::plan::Kind::Haproxy => "haproxy",
    };
    let runtimes = story.plan.apps.iter().map(|app| match app.runtime {
        super::plan::Runtime::Node => "node",
        super::plan::Runtime::Gunicorn => "gunicorn",
    });
    let mut needs: Vec<&str> = runtimes.chain(["ip", gateway]).chain(story.needs.iter().copied()).collect();
    needs.dedup();
    needs.into_iter().find_map(|need| match (need, groups) {
        ("cgroups", Err(why)) => Some(format!("no control groups: {why}")),
        ("cgroups", Ok(_)) => None,
        (program, _) => (!on_path(program)).then(|| format!("{program} is not installed")),
    })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

/// Runs one story in a process of its own.
fn one(story: &Story, dir: &Path, groups: &Done<Groups>, wanted: &Wanted, over: &AtomicBool) -> Row {
    let expected = match &story.expects[..] {
        [] => "nothing".to_owned(),
        expects => expects.iter().map(|expect| expect.cause).collect::<Vec<_>>().join(" + "),
    };
    let mut row = Row { name: story.name, expected, result: Value::Null, skipped: None, output: String::new() };
    row.skipped = lacks(story, groups);
    if row.skipped.is_none() {
        row.result = match process(story, dir, wanted, over) {
            Ok((result, output)) => {
                row.output = output;
                result
            }
            Err(fault) => json!({ "fault": fault }),
        };
    }
    if !wanted.keep {
        // The lab's folder goes as a whole in the end anyway.
        let _ = fs::remove_dir_all(dir);
    }
    row
}

fn process(story: &Story, dir: &Path, wanted: &Wanted, over: &AtomicBool) -> Done<(Value, String)> {
    fs::create_dir_all(dir).doing("story folder")?;
    let out = dir.join("story.log");
    let log = fs::File::create(&out).doing("story.log")?;
    let own = std::env::current_exe().doing("own path")?;
    let mut command = Command::new(own);
    command.args(["--enter", STORY, "--story", story.name, "--dir"]).arg(dir);
    if let Some(record) = &wanted.record {
        command.arg("--record").arg(record);
    }
    command.env("WHY502_LAB_GROUPS", format!("why502-lab-{}", std::process::id()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().doing("log")?)
        .stderr(log)
        .spawn()
        .doing("start the story")?;
    let ended = wait(&mut child, over, STORY_LIMIT);
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
    let until = Instant::now() + limit;
    loop {
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

fn line(row: &Row) -> String {
    let text = |key: &str| match &row.result[key] {
        Value::Number(number) => format!("{:.2}", number.as_f64().unwrap_or_default()),
        _ => "-".to_owned(),
    };
    let got: Vec<&str> = row.result["got"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mark = match (&row.skipped, row.result["fault"].is_null()) {
        (Some(_), _) => "SKIPPED",
        (None, true) => "ok",
        (None, false) => "FAILED",
    };
    let (first, right, resolved) = (text("first_s"), text("right_s"), text("resolved_s"));
    let (name, expected, got, confidence) = (row.name, &row.expected, got.join(" + "), text("confidence"));
    format!("{mark:<8}{name:<32} {expected:<24} {got:<24} {confidence:>5} {first:>6} {right:>6} {resolved:>7}")
}

/// Prints the table, what went wrong, and the sums.
fn tell(rows: &[Row], stopped: bool) -> ExitCode {
    let head = ["", "story", "expected", "got", "conf", "first", "right", "over"];
    println!(
        "\n{:<8}{:<32} {:<24} {:<24} {:>5} {:>6} {:>6} {:>7}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]
    );
    rows.iter().for_each(|row| println!("{}", line(row)));
    let failed: Vec<&Row> = rows.iter().filter(|row| row.skipped.is_none() && !row.result["fault"].is_null()).collect();
    for row in &failed {
        println!("\n==== {}\n{}", row.name, row.output);
    }
    for row in &failed {
        println!("FAILED  lab {}: {}", row.name, row.result["fault"].as_str().unwrap_or_default());
    }
    let skipped: Vec<&Row> = rows.iter().filter(|row| row.skipped.is_some()).collect();
    for row in &skipped {
        println!("SKIPPED lab {}: {}", row.name, row.skipped.as_deref().unwrap_or_default());
    }
    let passed = rows.len() - failed.len() - skipped.len();
    println!("lab: {passed} passed, {} failed, {} skipped", failed.len(), skipped.len());
    if failed.is_empty() && !stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    let (from, to) = (dir.join("collector/store/journal"), record.join(story.name));
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
