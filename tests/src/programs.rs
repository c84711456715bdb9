//! Where the programs under test are: named by the environment, else beside the test program.

use std::env;
use std::path::PathBuf;

/// The collector and its command line.
pub fn why502() -> PathBuf {
    find("WHY502_BIN", "why502")
}

/// The agent.
pub fn agent() -> PathBuf {
    find("WHY502_AGENT_BIN", "why502-agent")
}

fn find(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return PathBuf::from(path);
    }
    built(name)
}

/// A program as cargo built it with this one, whatever the environment names.
pub fn built(name: &str) -> PathBuf {
    // Programs lie in target/PROFILE, test programs one folder below.
    let own = env::current_exe().unwrap_or_default();
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| PathBuf::from(name))
}
