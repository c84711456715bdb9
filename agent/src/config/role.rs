//! `role` of `[[service]]`: how a service tells whether it leads.

use regex::bytes::{Regex, RegexBuilder};

use super::Role;
use super::fault::Faults;
use super::section::Section;
use super::service::{PATTERN_LIMIT_BYTES, last_line, request_path};
use super::value::shown;

const KEYS: [&str; 4] = ["path", "field", "gained", "lost"];

/// Reads it; None where it says nothing that can be used.
pub(super) fn read(section: &Section<'_, '_>, has_logs: bool, faults: &mut Faults) -> Option<Role> {
    section.only(&KEYS, faults);
    let path = section.parsed("path", "path = \"/health\"", request_path, faults);
    let field = section.text("field", "field = \"leader\"", faults).map(|found| found.value.to_owned());
    let gained = section.parsed("gained", "gained = \"became leader\"", pattern, faults);
    let lost = section.parsed("lost", "lost = \"lost the lock\"", pattern, faults);
    if section.has("path") != section.has("field") {
        faults.fault(&section.span, "role has one of path and field", "write path = \"/health\", field = \"leader\"");
    }
    if (section.has("gained") || section.has("lost")) && !has_logs {
        faults.fault(&section.span, "role has patterns for lines, but the service has no logs", "give its logs");
    }
    if !KEYS.iter().any(|key| section.has(key)) {
        faults.warn(&section.span, "role of service is empty", "give path and field, or gained and lost");
    }
    let asked = path.zip(field);
    let told = asked.is_some() || gained.is_some() || lost.is_some();
    told.then_some(Role { asked, gained, lost })
}

fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(PATTERN_LIMIT_BYTES).build();
    built.map_err(|error| format!("\"{}\" is no regular expression: {}", shown(text), last_line(&error.to_string())))
}
