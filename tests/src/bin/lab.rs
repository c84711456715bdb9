//! The lab: real gateways and applications in namespaces, broken one way each, and what the collector says of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use why502_tests::lab::runner::{self, Wanted};
use why502_tests::lab::story::Story;
use why502_tests::lab::{Done, enter};
use why502_tests::stories;

const USAGE: &str = "\
usage: lab [--short | --wild FROM..TO] [--only PART]... [--rounds N] [--jobs N] [--record DIR] [--keep] [--list]

  --short          a smaller matrix, the same each time
  --wild FROM..TO  stories drawn by these numbers instead of the written ones
  --only PART      stories with this in their name
  --rounds N       all over again, N times
  --jobs N         stories that are busy at once (3)
  --record DIR     keep each journal with its label
  --keep           leave the logs of all parts in the temporary folder
  --list           only name the stories

The programs under test come from WHY502_AGENT_BIN and WHY502_BIN, else from beside this program.";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("lab: {fault}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Done<ExitCode> {
    if let Some(done) = enter::internal(arguments) {
        return done;
    }
    if why502_tests::told_usage(arguments, USAGE) {
        return Ok(ExitCode::SUCCESS);
    }
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--story", name, "--dir", dir, rest @ ..] = &text[..] {
        let story = stories::named(name).ok_or("no such story")?;
        let record = match rest {
            ["--record", record] => Some(Path::new(*record)),
            _ => None,
        };
        return runner::play(&story, Path::new(dir), record);
    }
    let asked = asked(arguments)?;
    if asked.list {
        asked.stories.iter().for_each(|story| why502_tests::tell(&story.name));
        return Ok(ExitCode::SUCCESS);
    }
    runner::run(asked.stories, &asked.wanted)
}

/// What the command line asks for.
struct Asked {
    stories: Vec<Story>,
    list: bool,
    wanted: Wanted,
}

fn asked(arguments: &[String]) -> Done<Asked> {
    let wanted = Wanted { rounds: 1, jobs: 3, record: None, keep: false };
    let mut asked = Asked { stories: stories::all(), list: false, wanted };
    let mut only: Vec<String> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().cloned().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse::<usize>().map_err(|fault| format!("{argument}: {fault}"));
        match argument.as_str() {
            "--short" => asked.stories.retain(stories::is_short),
            "--wild" => asked.stories = stories::wild::drawn(range(&value()?)?),
            "--only" => only.push(value()?),
            "--rounds" => asked.wanted.rounds = number(value()?)?,
            "--jobs" => asked.wanted.jobs = number(value()?)?.max(1),
            "--record" => {
                asked.wanted.record = Some(std::path::absolute(PathBuf::from(value()?)).map_err(|f| f.to_string())?)
            }
            "--keep" => asked.wanted.keep = true,
            "--list" => asked.list = true,
            other => return Err(format!("unknown argument {other}; see --help")),
        }
    }
    asked.stories.retain(|story| only.is_empty() || only.iter().any(|part| story.name.contains(part.as_str())));
    Ok(asked)
}

/// `FROM..TO`, without TO itself.
fn range(text: &str) -> Done<Range<u64>> {
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.ok_or(format!("--wild: {text} is not FROM..TO, as 0..20"))
}
