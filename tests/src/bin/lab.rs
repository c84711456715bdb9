//! The lab: real gateways and applications in namespaces, broken one way each, and what the collector says of it.
//!
//! `lab [--only PART]... [--rounds N] [--jobs N] [--record DIR] [--keep] [--list]`. The programs under test come from
//! `WHY502_AGENT_BIN` and `WHY502_BIN`, else from beside this program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use why502_tests::lab::runner::{self, Wanted};
use why502_tests::lab::{Done, enter};
use why502_tests::stories;

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
    let text: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &text[..] {
        ["--story", name, "--dir", dir, rest @ ..] => {
            let story = stories::all().into_iter().find(|story| story.name == *name).ok_or("no such story")?;
            let record = match rest {
                ["--record", record] => Some(Path::new(*record)),
                _ => None,
            };
            runner::play(&story, Path::new(dir), record)
        }
        ["--list"] => {
            stories::all().iter().for_each(|story| println!("{}", story.name));
            Ok(ExitCode::SUCCESS)
        }
        _ => runner::run(stories::all(), &wanted(arguments)?),
    }
}

fn wanted(arguments: &[String]) -> Done<Wanted> {
    let mut wanted = Wanted { only: Vec::new(), rounds: 1, jobs: 5, record: None, keep: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().cloned().ok_or(format!("{argument} needs a value"));
        let number = |text: String| text.parse::<usize>().map_err(|fault| format!("{argument}: {fault}"));
        match argument.as_str() {
            "--only" => wanted.only.push(value()?),
            "--rounds" => wanted.rounds = number(value()?)?,
            "--jobs" => wanted.jobs = number(value()?)?,
            "--record" => {
                wanted.record = Some(std::path::absolute(PathBuf::from(value()?)).map_err(|f| f.to_string())?)
            }
            "--keep" => wanted.keep = true,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(wanted)
}
