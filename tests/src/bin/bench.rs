//! The bench: what the programs cost.

use std::process::ExitCode;

use why502_tests::bench::{agent, crowd, ingest, limit, read, values};
use why502_tests::lab::{Done, enter};

const USAGE: &str = "\
usage: bench agent [--host A|B] [--interval SECONDS] [--seconds N] [--peers yes|no]
       bench limit | bench read [--gateway KIND] [--mib N]
       bench values [--hosts N] [--reports N] | bench ingest [--hosts N] [--reports N]

  agent   the agent on reference hosts, beside its peers
  limit   the agent on a host beyond what it is made for
  read    the readers of gateways' logs, as they are built into this program
  values  the collector beside VictoriaMetrics
  ingest  how many readings of processes a core of the collector takes

The programs under test come from WHY502_AGENT_BIN and WHY502_BIN, else from beside this program.";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("bench: {fault}");
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
    let (first, rest) = arguments.split_first().ok_or("say what; see --help")?;
    match first.as_str() {
        "--crowd" => crowd::serve(rest),
        "--agent-on" => agent::on_host(rest),
        "--limit-on" => limit::on_host(),
        "agent" => agent::run(rest),
        "limit" => limit::run(rest),
        "read" => read::run(rest),
        "values" => values::run(rest),
        "ingest" => ingest::run(rest),
        other => Err(format!("unknown subcommand {other}; see --help")),
    }
}
