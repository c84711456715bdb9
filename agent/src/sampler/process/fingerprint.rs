//! What would change with a deployment: the executable, the script and the working directory with their links resolved, and the
//! arguments without their secrets. Equal digests mean that nothing changed. Files are named by device, inode and modification
//! time, so that a file replaced in place counts, and one that was only read does not.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::kernel::{mount, process};
use crate::mask;

/// Most arguments that are tried as the name of a script.
const SCRIPT_LIMIT: usize = 8;
/// Files that a program itself writes change without any deployment.
const VOLATILE: &[&str] = &[".log", ".pid", ".sock", ".lock", ".db", ".sqlite", ".sqlite3"];
/// Most bytes of the masked arguments.
pub const CMDLINE_BYTES: usize = 512;

/// A process's make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// Sixteen hexadecimal digits of all, a dash, and sixteen of the executable and the working directory alone. The first are left
    /// out where the process has written a title over its arguments.
    pub digest: String,
    /// What it is made of, for people.
    pub hint: String,
    /// The executable's path. Empty where it can't be read.
    pub exe: String,
    /// The arguments, masked.
    pub cmdline: String,
}

/// What was started: the executable's path, and the arguments, masked. None: they can't be read, or name nothing.
pub fn command(proc: &Path, pid: u32) -> Option<(String, String)> {
    let exe = process::link(proc, pid, "exe").ok()?.display().to_string();
    let args = process::args(proc, pid).ok().filter(|args| !args.is_empty())?;
    Some((exe, mask::arguments(args.iter().map(String::as_str), CMDLINE_BYTES)))
}

/// Takes the fingerprint of a process. Parts that can't be read are left out of it.
pub fn take(proc: &Path, pid: u32) -> Fingerprint {
    let args = process::args(proc, pid).unwrap_or_default();
    let cmdline = mask::arguments(args.iter().map(String::as_str), CMDLINE_BYTES);
    let exe = process::link(proc, pid, "exe").map(|path| path.display().to_string()).unwrap_or_default();
    let cwd = process::link(proc, pid, "cwd").ok();
    let mut digest = Digest::new();
    let exe_meta = fs::metadata(process::dir(proc, pid).join("exe")).ok();
    let place = cwd.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    digest.file(exe_meta.as_ref());
    digest.text(&place);
    let core = digest.0;
    let script = script(proc, pid, &args, cwd.as_deref());
    let module = module(proc, pid, &args, cwd.as_deref());
    for part in [&script, &module] {
        digest.text(&part.as_ref().map(|(path, _)| path.display().to_string()).unwrap_or_default());
        digest.file(part.as_ref().map(|(_, meta)| meta));
    }
    digest.text(&cmdline);
    let whole = if is_title(&args) { String::new() } else { format!("{:016x}", digest.0) };
    // A server's module ("app:app") is the application, its script only the server.
    let hint = match (module.as_ref().or(script.as_ref()), &exe_meta) {
        (Some((path, meta)), _) => describe(&path.display().to_string(), meta),
        (None, Some(meta)) => describe(&exe, meta),
        (None, None) => cmdline.clone(),
    };
    Fingerprint { digest: format!("{whole}-{core:016x}"), hint, exe, cmdline }
}

/// Whether a process has written a title over its arguments, as php-fpm, Puma and nginx do some time after their start: one text
/// with blanks where an executable's name would stand.
fn is_title(args: &[String]) -> bool {
    let mut said = args.iter().filter(|arg| !arg.is_empty());
    said.next().is_some_and(|first| first.contains(' ')) && said.next().is_none()
}

/// The first argument after the program's own name that is a file: an interpreter's script, or a program's configuration.
fn script(proc: &Path, pid: u32, args: &[String], cwd: Option<&Path>) -> Option<(PathBuf, Metadata)> {
    let candidates = args.iter().skip(1).take(SCRIPT_LIMIT).filter(|arg| !arg.starts_with('-') && !arg.is_empty());
    let lasting = candidates.filter(|arg| !VOLATILE.iter().any(|end| arg.ends_with(end)));
    lasting.filter_map(|arg| found(proc, pid, arg, cwd)).next()
}

/// The file of a Python server's "package.module:application", looked for in the working directory.
fn module(proc: &Path, pid: u32, args: &[String], cwd: Option<&Path>) -> Option<(PathBuf, Metadata)> {
    let names = args.iter().skip(1).filter_map(|arg| arg.split_once(':')).map(|(module, _)| module);
    let plain = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    let mut files = names.filter(plain).take(SCRIPT_LIMIT).map(|name| name.replace('.', "/"));
    files.find_map(|file| {
        found(proc, pid, &format!("{file}.py"), cwd).or_else(|| found(proc, pid, &format!("{file}/__init__.py"), cwd))
    })
}

/// A regular file by a process's argument, its links resolved.
fn found(proc: &Path, pid: u32, arg: &str, cwd: Option<&Path>) -> Option<(PathBuf, Metadata)> {
    let path = if arg.starts_with('/') { PathBuf::from(arg) } else { cwd?.join(arg) };
    let reached = mount::reach(proc, pid, path.to_str()?);
    let meta = fs::metadata(&reached).ok().filter(Metadata::is_file)?;
    // "current -> releases/42" is one deployment, "current -> releases/43" another.
    let resolved = if reached == path { fs::canonicalize(&path).unwrap_or(path) } else { path };
    Some((resolved, meta))
}

fn describe(path: &str, meta: &Metadata) -> String {
    let when = Timestamp::from_second(meta.mtime()).map(|at| format!(" modified {at}")).unwrap_or_default();
    format!("{path}{when}")
}

/// FNV-1a of 64 bits: the same on every version and machine, which the standard library's hasher does not promise.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
        // An end that no UTF-8 text holds, so that two texts never run into one.
        self.bytes(&[0xff]);
    }

    fn file(&mut self, meta: Option<&Metadata>) {
        let Some(meta) = meta else { return self.bytes(&[0]) };
        for number in [meta.dev(), meta.ino(), meta.mtime() as u64, meta.mtime_nsec() as u64] {
            self.bytes(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn run(dir: &Path) -> (Child, Fingerprint) {
        let mut command = Command::new("sh");
        let mut child =
            command.args(["app.sh", "--token", "s3cr3t"]).current_dir(dir).stdin(Stdio::piped()).spawn().unwrap();
        // The child reads its arguments' file only after exec, when its name has changed.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while process::args(Path::new("/proc"), child.id()).unwrap().first().map(String::as_str) != Some("sh") {
            assert!(std::time::Instant::now() < deadline && child.try_wait().unwrap().is_none());
        }
        let taken = take(Path::new("/proc"), child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        (child, taken)
    }

    #[test]
    fn changes_with_the_script_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("app.sh");
        fs::write(&script, "read line; exit 0").unwrap();
        let (first, second) = (run(dir.path()).1, run(dir.path()).1);
        assert_eq!(first, second);
        assert!(first.hint.contains("app.sh modified 20") && first.exe.contains("sh"), "{first:?}");
        assert!(!first.cmdline.contains("s3cr3t"));
        fs::rename(&script, dir.path().join("old.sh")).unwrap();
        fs::write(&script, "read line; exit 0").unwrap();
        assert_ne!(run(dir.path()).1.digest, first.digest);
    }

    #[test]
    fn what_wrote_a_title_over_its_arguments_is_compared_by_the_rest() {
        let args = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert!(is_title(&args(&["php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)", "", ""])));
        assert!(is_title(&args(&["puma 5.6.5 (tcp://0.0.0.0:3000) [shop]"])));
        assert!(!is_title(&args(&["/usr/sbin/php-fpm8.2", "--nodaemonize"])) && !is_title(&args(&["shop"])));
        assert!(!is_title(&args(&["/opt/my shop/bin", "-p", "80"])) && !is_title(&[]));
    }

    #[test]
    fn a_servers_module_is_found_and_its_log_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("shop")).unwrap();
        for name in ["shop/web.py", "access.log", "run.conf"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let args = ["python3", "access.log", "run.conf", "-b", "127.0.0.1:80", "shop.web:app"].map(str::to_owned);
        let (proc, me) = (Path::new("/proc"), std::process::id());
        let name = |found: Option<(PathBuf, Metadata)>| found.map(|(path, _)| path.file_name().unwrap().to_owned());
        assert_eq!(name(module(proc, me, &args, Some(dir.path()))).unwrap(), "web.py");
        assert_eq!(name(script(proc, me, &args, Some(dir.path()))).unwrap(), "run.conf");
    }
}
