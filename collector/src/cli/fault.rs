//! Why a command did not answer, told in one line: what is wrong, and what to do.

use std::io::{self, Write};

use clap::error::ErrorKind;

use crate::view::clean;

/// Why a command did not answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The collector, or something asked of it, makes no sense: exit 2.
    Usage(String),
    /// The collector can't be reached or broke off: exit 3.
    Unreachable(String),
    /// Something on this machine failed: exit 1.
    Failed(String),
    /// Nobody reads the output any more.
    BrokenPipe,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed(format!("write the answer: {error}")),
        }
    }
}

/// Says on standard error why a command did not answer.
pub(super) fn told(code: u8, why: String) -> u8 {
    let _ = writeln!(io::stderr(), "why502: {}", clean(&without_numbers(&why)));
    code
}

/// Whether it is the help itself, asked for or for want of a command.
pub(super) fn is_help(error: &clap::Error) -> bool {
    !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// A fault of usage in one line: what is wrong, what was meant perhaps, how it is used.
pub(super) fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts = text.split("\n\n").filter(|part| !part.starts_with("For more information"));
    // Of several ways to use it the first will do.
    let parts = parts.map(|part| if part.starts_with("Usage: ") { part.lines().next().unwrap_or(part) } else { part });
    let parts = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let parts = parts.map(|part| part.replacen("error: ", "", 1).replacen("Usage: ", "usage: ", 1));
    format!("{}; --help tells more", parts.collect::<Vec<_>>().join("; "))
}

/// A text without the numbers that the system gives to its errors, which say nothing beyond their words.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| told + part.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(')'))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;
    use super::*;

    #[test]
    fn a_fault_of_usage_is_one_line_with_what_was_meant() {
        let told = |args: &[&str]| usage(&Cli::try_parse_from(args).unwrap_err());
        let mistyped = told(&["why502", "incidnets"]);
        assert!(mistyped.starts_with("unrecognized subcommand 'incidnets'; tip: "), "{mistyped}");
        assert!(mistyped.contains("'incidents'"), "{mistyped}");
        let lacking = told(&["why502", "why"]);
        assert!(lacking.contains("not provided: <TARGET>; usage: why502 why "), "{lacking}");
        assert!(!mistyped.contains('\n') && !lacking.contains('\n'));
    }

    #[test]
    fn errors_of_the_system_lose_their_numbers() {
        let refused = "it: Connection refused (os error 111), and /a: No such file or directory (os error 2): make it";
        let told = "it: Connection refused, and /a: No such file or directory: make it";
        assert_eq!(without_numbers(refused), told);
    }
}
