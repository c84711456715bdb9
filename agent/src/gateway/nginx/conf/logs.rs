//! `access_log`, `log_format` and `error_log` of the whole configuration.

use std::collections::HashMap;

use super::scope::Scope;
use super::tree::{Directive, words};
use crate::gateway::LogSetting;

/// The logs of the main block and of one world, in the order of the file, each once.
pub(super) fn logs(root: &Scope<'_>, world: &str, faults: &mut Vec<String>) -> Vec<LogSetting> {
    let mut found = Found { formats: HashMap::new(), logs: Vec::new(), faults };
    for error_log in root.own("error_log") {
        found.error_log(error_log);
    }
    let worlds: Vec<&Directive> = root.own(world).collect();
    for block in &worlds {
        found.formats(&block.block);
    }
    for block in &worlds {
        found.walk(&block.block);
    }
    found.logs
}

/// A format as it stands in a configuration: the whole `log_format` directive, or its quoted parts. None: it is plain.
pub(in crate::gateway::nginx) fn unquoted(text: &str) -> Option<String> {
    if text.starts_with("log_format ") {
        return words(text).get(2..).map(joined);
    }
    let parts = text.trim_end_matches(';').trim_end();
    let quoted =
        parts.split_once("escape=").map_or(parts, |(_, rest)| rest.split_once(' ').map_or("", |(_, rest)| rest));
    let is_quoted = quoted.len() > 1 && quoted.trim_start().starts_with('\'') && quoted.ends_with('\'');
    is_quoted.then(|| joined(&words(parts)))
}

/// The parts of a format as one text, its escaping before it.
fn joined(parts: &[String]) -> String {
    match parts.split_first() {
        Some((escape, text)) if escape.starts_with("escape=") => format!("{escape} {}", text.concat()),
        _ => parts.concat(),
    }
}

struct Found<'c> {
    formats: HashMap<String, String>,
    logs: Vec<LogSetting>,
    faults: &'c mut Vec<String>,
}

impl Found<'_> {
    fn formats(&mut self, block: &[Directive]) {
        for directive in block.iter().filter(|directive| directive.name == "log_format") {
            if let Some((name, rest)) = directive.args.split_first() {
                self.formats.insert(name.clone(), joined(rest));
            }
        }
    }

    fn walk(&mut self, block: &[Directive]) {
        for directive in block {
            match directive.name.as_str() {
                "access_log" => self.access_log(directive),
                "error_log" => self.error_log(directive),
                _ => self.walk(&directive.block),
            }
        }
    }

    fn access_log(&mut self, directive: &Directive) {
        let Some(target) = directive.args.first() else { return };
        let option = |arg: &&String| arg.contains('=') || *arg == "gzip";
        let name = directive.args.get(1).filter(|arg| !option(arg)).map_or("combined", String::as_str);
        let format = self.formats.get(name).cloned();
        if format.is_none() && name != "combined" {
            self.faults.push(format!("{}: no log_format {name:?}", directive.source));
        }
        let off = target == "off";
        self.keep(LogSetting {
            target: (!off).then(|| target.clone()),
            format: format.filter(|_| !off),
            ..LogSetting::default()
        });
    }

    fn error_log(&mut self, directive: &Directive) {
        let target = directive.args.first().cloned();
        let level = directive.args.get(1).cloned().unwrap_or_else(|| "error".to_owned());
        self.keep(LogSetting { target, level: Some(level), is_error_log: true, ..LogSetting::default() });
    }

    fn keep(&mut self, log: LogSetting) {
        if !self.logs.contains(&log) {
            self.logs.push(log);
        }
    }
}
