//! The command line: text to a command, a command to its exit code. Every command answers on standard output and
//! complains on standard error, one line a fault.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Fault, Loaded};

/// The command did what it was asked to.
pub const EXIT_OK: u8 = 0;
/// `check` found something unhealthy; `run` ended by a fault.
pub const EXIT_UNHEALTHY: u8 = 1;
/// Bad usage, a configuration that does not hold, or `check` could not tell.
pub const EXIT_USAGE: u8 = 2;

/// Sees one host for why502: processes, ports, resources, health and gateway logs.
#[derive(Debug, Parser)]
#[command(name = "why502-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host and report to the collector until SIGTERM or SIGINT. Exit 0, 1 where it could not begin, or 2 with
    /// faults of the configuration.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Tell every fault of a configuration file with its line and what to write instead. Exit 0, or 2 with faults.
    Validate {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are answers, not faults. A closed pipe is no fault of ours either.
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    ExitCode::from(match cli.command {
        Command::Run { config } => run(&config),
        Command::Validate { config } => validate(&config),
    })
}

fn run(path: &std::path::Path) -> u8 {
    let Some(loaded) = load(path) else { return EXIT_USAGE };
    match crate::run_until_signal(loaded.config) {
        Ok(_) => EXIT_OK,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "can't run: {error}");
            EXIT_UNHEALTHY
        }
    }
}

fn validate(path: &std::path::Path) -> u8 {
    let Some(loaded) = load(path) else { return EXIT_USAGE };
    answer(&summary(path, &loaded.config))
}

/// Reads the configuration; tells its faults and warnings on standard error.
fn load(path: &std::path::Path) -> Option<Loaded> {
    let loaded = config::load(path);
    let told: &[Fault] = match &loaded {
        Ok(loaded) => &loaded.warnings,
        Err(faults) => faults,
    };
    let mut out = io::stderr().lock();
    for fault in told {
        // Nobody is left to tell if standard error is closed.
        let _ = writeln!(out, "{fault}");
    }
    loaded.ok()
}

/// Writes an answer. A reader that went away early has read enough.
fn answer(text: &str) -> u8 {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => EXIT_UNHEALTHY,
        _ => EXIT_OK,
    }
}

/// What is configured, in a line.
fn summary(path: &std::path::Path, config: &Config) -> String {
    let names = |names: Vec<&str>, none: &str| if names.is_empty() { none.to_owned() } else { names.join(", ") };
    let services =
        names(config.services.iter().map(|s| s.name.as_str()).collect(), "every process that listens on TCP");
    let gateways = names(config.gateways.iter().map(|g| g.name.as_str()).collect(), "none");
    format!(
        "{} holds: host {}, sampled each {:?}, services: {services}; gateways: {gateways}; reports to {}\n",
        path.display(),
        config.host,
        config.interval,
        config.collectors.join(", "),
    )
}
