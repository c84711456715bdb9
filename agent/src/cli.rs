//! The command line: text to a command, a command to its exit code. Every command answers on standard output and
//! complains on standard error, one line a fault.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::check::{self, Verdict};
use crate::config::{self, Config, Fault, Loaded};
use crate::gateway::{Kind, Log};
use crate::identity::{self, Enrolment};
use crate::read;

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
    /// Look at this host once, without a collector. Exit 0 healthy, 1 unhealthy, 2 where it could not tell.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Look at this service only.
        service: Option<String>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Tell every fault of a configuration file with its line and what to write instead. Exit 0, or 2 with faults.
    Validate {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Get this host's certificate from a collector, for a token that an administrator made. Exit 0, 1 where there is none, or 2
    /// with faults of the configuration.
    Enroll(EnrollArgs),
    /// Print what the agent makes of a gateway's log, one JSON object for each line. Exit 0.
    Read(ReadArgs),
}

#[derive(Debug, Args)]
struct EnrollArgs {
    /// The collector: https://HOST:5020.
    #[arg(long, value_name = "URL")]
    collector: String,
    /// The file with the token; - for standard input.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// What `why502 ca pin` prints: the hash of the collector's root.
    #[arg(long, value_name = "HASH")]
    ca_pin: String,
    /// The configuration file, for the host's name and the state directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The host's name. Default: the configured one, else the host's own.
    #[arg(long)]
    host: Option<String>,
    /// The state directory. Default: the configured one, else /var/lib/why502-agent.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Do nothing where this host has a certificate of this collector that is still good: for what enrols at each start.
    #[arg(long)]
    unless_enrolled: bool,
}

#[derive(Debug, Args)]
struct ReadArgs {
    /// The kind of gateway.
    #[arg(long, value_parser = PossibleValuesParser::new(Kind::ALL.map(|(_, id)| id)))]
    kind: String,
    /// Which of its logs it is; by default each line is told apart by itself.
    #[arg(long, value_enum, default_value_t = LogArg::All)]
    log: LogArg,
    /// The gateway's own log-format setting.
    #[arg(long)]
    format: Option<String>,
    /// The file, or - for standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogArg {
    Access,
    Error,
    All,
}

impl From<LogArg> for Log {
    fn from(log: LogArg) -> Self {
        match log {
            LogArg::Access => Self::Access,
            LogArg::Error => Self::Error,
            LogArg::All => Self::All,
        }
    }
}

/// The command line as manual pages and completions are made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Help and version are answers, not faults. A closed pipe is no fault of ours either.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
        Err(error) => return ExitCode::from(complain(&usage(&error), EXIT_USAGE)),
    };
    ExitCode::from(match cli.command {
        Command::Run { config } => run(&config),
        Command::Check { config, service, json } => check(&config, service.as_deref(), json),
        Command::Validate { config } => validate(&config),
        Command::Enroll(arguments) => enroll(arguments),
        Command::Read(arguments) => read(&arguments),
    })
}

fn run(path: &Path) -> u8 {
    let Some(loaded) = load(path) else { return EXIT_USAGE };
    match crate::run_until_signal(loaded.config) {
        Ok(_) => EXIT_OK,
        Err(error) => complain(&format!("can't run: {error}"), EXIT_UNHEALTHY),
    }
}

fn enroll(arguments: EnrollArgs) -> u8 {
    let EnrollArgs { collector, token_file, ca_pin, config, host, state_dir, unless_enrolled } = arguments;
    let (name, dir) = match config {
        Some(path) => match load(&path) {
            Some(Loaded { config, .. }) => (config.host, config.state_dir),
            None => return EXIT_USAGE,
        },
        None => config::defaults(),
    };
    let token_file = if token_file == Path::new("-") { PathBuf::from("/dev/stdin") } else { token_file };
    let (host, state_dir) = (host.unwrap_or(name), state_dir.unwrap_or(dir));
    let enrolment = Enrolment { collector, token_file, ca_pin, host, state_dir };
    if unless_enrolled && identity::is_enrolled(&enrolment) {
        return answer(&format!("{} is enrolled already\n", enrolment.host));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let enrolled =
        runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(identity::enroll(&enrolment)));
    match enrolled {
        Ok(dir) => answer(&format!("{} is enrolled, its identity is in {}\n", enrolment.host, dir.display())),
        Err(why) => complain(&format!("not enrolled: {why}"), EXIT_UNHEALTHY),
    }
}

fn check(path: &Path, service: Option<&str>, json: bool) -> u8 {
    let Some(loaded) = load(path) else { return EXIT_USAGE };
    let report = match check::run(&loaded.config, service) {
        Ok(report) => report,
        Err(fault) => return complain(&fault.to_string(), EXIT_USAGE),
    };
    // What could not be written was not told, whatever the verdict.
    match answer(&if json { report.json() } else { report.lines() }) {
        EXIT_OK => match report.verdict {
            Verdict::Healthy => EXIT_OK,
            Verdict::Unhealthy => EXIT_UNHEALTHY,
            Verdict::Unknown => EXIT_USAGE,
        },
        failed => failed,
    }
}

fn read(arguments: &ReadArgs) -> u8 {
    let Some(kind) = Kind::from_id(&arguments.kind) else {
        return complain(&format!("{:?} is no kind of gateway", arguments.kind), EXIT_USAGE);
    };
    let (log, format) = (arguments.log.into(), arguments.format.as_deref());
    let result = if arguments.file == Path::new("-") {
        // Line by line, for a log may come over the pipe as it is written.
        read::run(kind, log, format, &mut io::stdin().lock(), &mut io::stdout().lock())
    } else {
        let opened = File::open(&arguments.file);
        opened.and_then(|file| {
            read::run(kind, log, format, &mut BufReader::new(file), &mut BufWriter::new(io::stdout().lock()))
        })
    };
    match result {
        Ok(()) => EXIT_OK,
        Err(error) => complain(&format!("can't read {}: {error}", arguments.file.display()), EXIT_USAGE),
    }
}

/// A fault of usage in one line: what is wrong, and how it is used.
fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts = text.split("\n\n").filter(|part| !part.starts_with("For more information"));
    let parts = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let parts = parts.map(|part| part.replacen("error: ", "", 1).replacen("Usage: ", "usage: ", 1));
    format!("{}; --help tells more", parts.collect::<Vec<_>>().join("; "))
}

/// Says why a command ends so.
fn complain(why: &str, code: u8) -> u8 {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{}", why.replace(['\n', '\r'], " "));
    code
}

fn validate(path: &Path) -> u8 {
    let Some(loaded) = load(path) else { return EXIT_USAGE };
    answer(&summary(path, &loaded.config))
}

/// Reads the configuration; tells its faults and warnings on standard error.
fn load(path: &Path) -> Option<Loaded> {
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
fn summary(path: &Path, config: &Config) -> String {
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
