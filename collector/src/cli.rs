//! The command line: text -> a command, the command's answer -> standard output and an exit code. Answers go to
//! standard output and nothing else does; faults are one line on standard error. A reader that goes away (`| head`)
//! is a success.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Config;
use crate::identity::client::Credentials;
use crate::render::{self, Style};
use crate::view::{self, clean_json};
use access::TokenCommand;
use alerts::{Alerts, Silence};
use bundle::Bundle;
pub(crate) use fault::Fault;
use fault::{is_help, told, usage};
use incident::IncidentCommand;

mod access;
mod alerts;
mod ask;
mod bundle;
mod ca;
mod fault;
mod incident;
mod replay;

/// Answered; for `serve`: told to stop.
pub const EXIT_OK: u8 = 0;
/// Nothing found; for `serve`: it failed.
pub const EXIT_NOTHING: u8 = 1;
/// Bad usage, a bad configuration, a question that makes no sense.
pub const EXIT_USAGE: u8 = 2;
/// The collector is out of reach.
pub const EXIT_UNREACHABLE: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = "why502", version, about = "Says why the load balancer said 502")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Clone, Args)]
struct Asking {
    /// The collector to ask
    #[arg(long, global = true, value_name = "URL", env = "WHY502_COLLECTOR", default_value = "http://127.0.0.1:5021")]
    collector: String,
    /// Print one JSON document and nothing else
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the collector until SIGTERM or SIGINT
    Serve {
        /// Its configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// The fleet in a screenful
    Status,
    /// Hosts now or at a past time
    #[command(args_conflicts_with_subcommands = true)]
    Hosts {
        #[command(flatten)]
        at: At,
        #[command(subcommand)]
        what: Option<HostsCommand>,
    },
    /// Services on hosts now or at a past time
    Instances(At),
    /// Load balancers and their upstreams now or at a past time
    Gateways(At),
    /// Failing upstreams and why
    Incidents(Incidents),
    /// Take an incident elsewhere
    Incident {
        #[command(subcommand)]
        what: IncidentCommand,
    },
    /// What is wrong with an upstream address, a service, a host, or an incident
    Why {
        /// An upstream address, a service, a host, a gateway, or an incident's id
        target: String,
        #[command(flatten)]
        at: At,
        /// How far back from then (default 15m)
        #[arg(long, value_name = "DURATION")]
        since: Option<String>,
    },
    /// States, readings and what happened, of instances, their hosts and gateways, side by side
    Timeline {
        /// An upstream address, a service, a host, a gateway, or an incident's id
        target: String,
        #[command(flatten)]
        at: At,
        /// How far back from then (default 15m; for an incident from before it began)
        #[arg(long, value_name = "DURATION")]
        since: Option<String>,
    },
    /// The lines that agents sent of it: what applications logged of trouble, what gateways logged of failures
    Logs(Logs),
    /// What it runs on, and how the gateways before it are set up
    Environment {
        /// An upstream address, a service, a host, a gateway, or an incident's id
        target: String,
    },
    /// Write what is known of it into a file to send along when asking others for help
    Bundle(Bundle),
    /// Failures per minute and each new or changed incident, as they come
    Watch,
    /// The catalogue: causes, what proves them, what fixes them
    Causes,
    /// Setting by setting: now, recommended, why, and how to write it
    Advise {
        /// A gateway, a service, a host, a pool, or a kind of gateway; without it all
        target: Option<String>,
    },
    /// Tell the collector what is being done to the fleet
    Mark {
        #[command(subcommand)]
        what: Mark,
    },
    /// Who was told of incidents, and what did not arrive
    Alerts {
        #[command(subcommand)]
        what: Option<Alerts>,
    },
    /// Tell nobody of some incidents for a time
    Silence {
        #[command(subcommand)]
        what: Silence,
    },
    /// Make and rotate the collector's own CA; on the collector's machine
    Ca {
        #[command(subcommand)]
        what: CaCommand,
        /// The collector's configuration; without it its store is /var/lib/why502
        #[arg(long, global = true, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Let hosts enrol and people ask
    Token {
        #[command(subcommand)]
        what: TokenCommand,
    },
    /// The incidents that a journal gives, or the one of an exported file, without a collector
    Replay {
        /// A collector's store, the journal in it, or a file that `incident export` wrote
        path: PathBuf,
    },
}

#[derive(Debug, Args)]
struct At {
    /// A time in the past: 14:32, "2026-11-22 14:32" (UTC), 2026-11-22T14:32:00Z, or 15m for so long ago
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

#[derive(Debug, Subcommand)]
enum HostsCommand {
    /// Refuse every certificate that a host has now, and cut its streams; a new token lets it in again
    Revoke {
        /// The host
        host: String,
    },
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Make the CA and the administrator's token; tell what agents pin
    Init,
    /// Tell what agents pin
    Pin,
    /// Make a new root; the old one is trusted beside it until it is retired
    Rotate,
    /// Stop to trust the old root, once every host has renewed its certificate
    Retire,
    /// Make a person's certificate and key in a folder
    Issue {
        /// The person's name
        #[arg(long)]
        person: String,
        /// read or admin
        #[arg(long, default_value = "read")]
        role: String,
        /// How many days it is good
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=825))]
        days: i64,
        /// The folder
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Incidents {
    /// Only those that failed so recently, or are open
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// open, resolved or all
    #[arg(long)]
    state: Option<String>,
    /// Only this upstream address
    #[arg(long)]
    upstream: Option<String>,
    /// Only this service
    #[arg(long)]
    service: Option<String>,
    /// Only this cause
    #[arg(long)]
    cause: Option<String>,
    /// Only this family of causes
    #[arg(long)]
    family: Option<String>,
}

#[derive(Debug, Args)]
struct Logs {
    /// An upstream address, a service, a host, a gateway, or an incident's id
    target: String,
    #[command(flatten)]
    at: At,
    /// How far back from then (default 1h; for an incident from before it began)
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// Only lines in which this regular expression is found
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only lines at least so bad: error, warn or info
    #[arg(long)]
    level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Mark {
    /// A deployment begins now
    Deploy {
        /// The service
        #[arg(long)]
        service: String,
        /// The version
        #[arg(long, default_value = "")]
        version: String,
        /// The host; without it all hosts of the service
        #[arg(long, default_value = "")]
        host: String,
    },
}

/// The command line as manual pages and completions are made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command line; gives the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if is_help(&error) => {
            // Help and version go to standard output and are a success. Nobody may be reading.
            let _ = error.print();
            return if error.use_stderr() { EXIT_USAGE } else { EXIT_OK };
        }
        Err(error) => return told(EXIT_USAGE, usage(&error)),
    };
    match execute(cli) {
        Ok(code) => code,
        Err(Fault::BrokenPipe) => EXIT_OK,
        Err(Fault::Usage(why)) => told(EXIT_USAGE, why),
        Err(Fault::Unreachable(why)) => told(EXIT_UNREACHABLE, why),
        Err(Fault::Failed(why)) => told(EXIT_NOTHING, why),
    }
}

fn execute(cli: Cli) -> Result<u8, Fault> {
    match cli.command {
        Command::Serve { config } => serve(&config),
        Command::Replay { path } => replay::run(&path, cli.asking.json),
        Command::Ca { what, config } => ca::run(what, config.as_deref()),
        Command::Causes => {
            let catalogue = view::answer(&view::View::default(), &view::Question::Causes);
            let catalogue = catalogue.map_err(|bad| Fault::Usage(bad.to_string()))?;
            print_answer("causes", &catalogue.json, cli.asking.json)?;
            Ok(EXIT_OK)
        }
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Fault::Failed(format!("start: {error}")))?;
            runtime.block_on(ask::run(command, &cli.asking))
        }
    }
}

/// Runs the collector.
fn serve(path: &Path) -> Result<u8, Fault> {
    let config = Config::load(path).map_err(|error| Fault::Usage(error.to_string()))?;
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::Failed(format!("start: {error}")))?;
    let served = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let told_to_stop = async move {
            tokio::select! { _ = term.recv() => {} _ = int.recv() => {} }
        };
        io::Result::Ok(crate::serve(config, told_to_stop).await)
    });
    served.map_err(|error| Fault::Failed(format!("signals: {error}")))?.map_err(|e| Fault::Failed(e.to_string()))?;
    tracing::info!("stopped");
    Ok(EXIT_OK)
}

/// Prints a document: as it is with `--json`, else as people read it.
fn print_answer(document: &str, json: &str, as_json: bool) -> Result<(), Fault> {
    let text = if as_json {
        format!("{}\n", clean_json(json))
    } else {
        let rendered = render::document(document, json, style());
        rendered.map_err(|why| Fault::Unreachable(format!("the collector's answer is not understood: {why}")))?
    };
    print(&text)
}

fn print(text: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Colour for a terminal only, and not where NO_COLOR is set (no-color.org).
fn style() -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { colour: wanted && io::stdout().is_terminal(), width: width() }
}

/// The columns of the terminal. None: there is none.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_collector_may_be_named_before_or_after_the_command() {
        for args in
            [["why502", "--collector", "http://a:1", "status"], ["why502", "status", "--collector", "http://a:1"]]
        {
            assert_eq!(Cli::try_parse_from(args).unwrap().asking.collector, "http://a:1");
        }
    }

    #[test]
    fn bad_usage_is_exit_2() {
        let exit = |args: &[&str]| run(args.iter().map(OsString::from));
        assert_eq!(exit(&["why502"]), EXIT_USAGE);
        assert_eq!(exit(&["why502", "whatever"]), EXIT_USAGE);
        assert_eq!(exit(&["why502", "serve", "--config", "/nonexistent/collector.toml"]), EXIT_USAGE);
        assert_eq!(exit(&["why502", "status", "--collector", "not a url"]), EXIT_USAGE);
        assert_eq!(exit(&["why502", "status", "--collector", "http://127.0.0.1:1"]), EXIT_UNREACHABLE);
    }
}
