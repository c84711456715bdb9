//! `access_log`, `log_format` and `error_log` of the whole configuration.

use std::collections::HashMap;

use super::scope::Scope;
use super::tree::Directive;
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

struct Found<'c> {
    formats: HashMap<String, String>,
    logs: Vec<LogSetting>,
    faults: &'c mut Vec<String>,
}

impl Found<'_> {
    fn formats(&mut self, block: &[Directive]) {
        for directive in block.iter().filter(|directive| directive.name == "log_format") {
            let Some((name, rest)) = directive.args.split_first() else { continue };
            let text = match rest.split_first() {
                Some((escape, text)) if escape.starts_with("escape=") => format!("{escape} {}", text.concat()),
                _ => rest.concat(),
            };
            self.formats.insert(name.clone(), text);
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
