//! Trials of losing nothing.

use std::process::ExitCode;
use std::time::Instant;

use why502_tests::tell;
use why502_tests::torture::{self, Size, Trial};

const USAGE: &str = "\
usage: torture [--full] [--list] [NAME]...

Without names all trials but those that last in any form. The short form takes seconds, --full as long as the figures of the
requirements ask for. Each prints one line; the exit status is 1 if one failed.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if why502_tests::told_usage(&arguments, USAGE) {
        return ExitCode::SUCCESS;
    }
    let trials = torture::all();
    if arguments.iter().any(|argument| argument == "--list") {
        trials.iter().for_each(|trial| tell(&format!("{:13} {}", trial.name, trial.about)));
        return ExitCode::SUCCESS;
    }
    let size = if arguments.iter().any(|argument| argument == "--full") { Size::Full } else { Size::Short };
    let names: Vec<&String> = arguments.iter().filter(|argument| *argument != "--full").collect();
    if let Some(unknown) = names.iter().find(|name| !trials.iter().any(|trial| trial.name == name.as_str())) {
        eprintln!("torture: there is no trial {unknown}; see --list");
        return ExitCode::from(2);
    }
    let chosen = trials.iter().filter(|trial| match names.is_empty() {
        true => !trial.lasts,
        false => names.iter().any(|name| *name == trial.name),
    });
    let failed = chosen.filter(|trial| !passes(trial, size)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn passes(trial: &Trial, size: Size) -> bool {
    let began = Instant::now();
    let outcome = (trial.run)(size);
    let took = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(figures) => println!("ok     {}: {figures} ({took:.1} s)", trial.name),
        Err(why) => println!("FAILED {}: {why} ({took:.1} s)", trial.name),
    }
    outcome.is_ok()
}
