//! `CustomLog`, `TransferLog`, `LogFormat`, `ErrorLog` of the whole configuration.

use std::collections::HashMap;
use std::path::Path;

use super::Scope;
use super::tree::Directive;
use crate::gateway::LogSetting;

/// The logs in the order of the files, each once.
pub(super) fn logs(root: &Scope<'_>) -> Vec<LogSetting> {
    let mut found = Found { root: root.value("serverroot"), formats: HashMap::new(), default: None, logs: Vec::new() };
    found.formats(root.directives);
    found.walk(root.directives, root.value("loglevel"));
    found.logs
}

struct Found<'t> {
    root: Option<&'t str>,
    formats: HashMap<&'t str, &'t str>,
    /// `LogFormat` without a name: that of `TransferLog`.
    default: Option<&'t str>,
    logs: Vec<LogSetting>,
}

impl<'t> Found<'t> {
    /// Formats hold wherever they were named.
    fn formats(&mut self, directives: &'t [Directive]) {
        for directive in directives {
            match (directive.is("logformat"), directive.args.as_slice()) {
                (true, [format, name, ..]) => drop(self.formats.insert(name, format)),
                (true, [format]) => self.default = Some(format),
                _ => self.formats(&directive.inner),
            }
        }
    }

    fn walk(&mut self, directives: &'t [Directive], level: Option<&'t str>) {
        let own = directives.iter().rfind(|directive| directive.is("loglevel"));
        let level = own.and_then(|directive| directive.args.first()).map(String::as_str).or(level);
        for directive in directives {
            let first = directive.args.first().map_or("", String::as_str);
            let target = Some(self.target(first));
            match directive.name.as_str() {
                "customlog" | "globallog" => {
                    let given = directive.args.get(1).map(String::as_str).filter(|arg| !arg.starts_with("env="));
                    let format = given
                        .and_then(|given| self.formats.get(given).copied().or(given.contains('%').then_some(given)));
                    self.keep(LogSetting { target, format: format.map(str::to_owned), ..LogSetting::default() });
                }
                "transferlog" => {
                    let format = self.default.map(str::to_owned);
                    self.keep(LogSetting { target, format, ..LogSetting::default() });
                }
                "errorlog" => {
                    let level = level.unwrap_or("warn").to_owned();
                    self.keep(LogSetting { target, level: Some(level), is_error_log: true, ..LogSetting::default() });
                }
                _ => self.walk(&directive.inner, level),
            }
        }
    }

    /// Files are relative to `ServerRoot`.
    fn target(&self, written: &str) -> String {
        let is_file = !written.starts_with(['/', '|']) && !written.starts_with("syslog");
        match self.root.filter(|_| is_file && !written.is_empty()) {
            Some(root) => Path::new(root).join(written).display().to_string(),
            None => written.to_owned(),
        }
    }

    fn keep(&mut self, log: LogSetting) {
        if !self.logs.contains(&log) {
            self.logs.push(log);
        }
    }
}
