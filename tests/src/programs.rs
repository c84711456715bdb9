//! Where the programs under test are: named by the environment, else beside the test program. And how they are started, so
//! that none is left behind.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Whether a program is linked statically: none that is not names its loader, near its beginning (elf(5), `PT_INTERP`).
pub fn is_static(program: &Path) -> bool {
    let mut begin = [0; 4096];
    let read = File::open(program).and_then(|mut file| file.read(&mut begin));
    read.is_ok_and(|len| !begin[..len].windows(4).any(|part| part == b"/ld-"))
}

/// A command of a program that ends as soon as the thread that starts it does, however that ends: where this program is
/// killed nobody is left to end what it started.
pub fn mortal(program: impl AsRef<OsStr>) -> Command {
    // The kernel's own tie between both would take unsafe code here; it lasts through the call of the program.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use super::*;
    use crate::lab::wait_for;

    #[test]
    fn a_program_that_names_its_loader_is_not_static() {
        let own = env::current_exe().unwrap();
        assert_eq!(is_static(&own), cfg!(target_feature = "crt-static"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(is_static(empty.path()));
    }

    #[test]
    fn what_is_mortal_ends_with_who_started_it() {
        let started = std::thread::spawn(|| {
            let child = mortal("sleep").arg("600").spawn().unwrap();
            let name = format!("/proc/{}/comm", child.id());
            let runs = || fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep").then_some(());
            wait_for("the program runs", Duration::from_secs(20), runs).map(|()| child)
        });
        let mut child = started.join().unwrap().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
