//! Advice on settings: a block for each pool and each service, what need change first and with its snippet.

use std::fmt::Write;

use super::table::Table;
use super::{Style, Tone, clean, option};
use crate::view::{AdviseDoc, SettingDoc};

/// Setting by setting.
pub fn advise(doc: &AdviseDoc, style: Style) -> String {
    if doc.settings.is_empty() {
        let near = clean(&doc.near.join(" or ")).into_owned();
        let near = if near.is_empty() { near } else { format!(": did you mean {near}?") };
        return format!(
            "no gateway, service, host, pool or kind of gateway is known as {}{near}\n",
            clean(&doc.target)
        );
    }
    let mut out = String::new();
    let same = |one: &SettingDoc, other: &SettingDoc| heading(one) == heading(other);
    for (at, block) in doc.settings.chunk_by(same).enumerate() {
        let gap = if at > 0 { "\n" } else { "" };
        let _ = writeln!(out, "{gap}{}", block.first().map(heading).unwrap_or_default());
        let mut table = Table::with_prose(&["SETTING", "NOW", "RECOMMENDED", "WHY"], &[]);
        for one in block {
            let tone = if one.change { Tone::Warn } else { Tone::Plain };
            let recommended = if one.change { one.recommended.clone() } else { "fine".to_owned() };
            table.row(tone, vec![one.setting.clone(), option(one.now.as_deref()), recommended, one.why.clone()]);
        }
        table.render(style.within(2)).lines().for_each(|line| out.extend(["  ", line, "\n"]));
        for one in block.iter().filter(|one| !one.snippet.is_empty()) {
            one.snippet.lines().for_each(|line| out.extend(["    ", &clean(line), "\n"]));
        }
    }
    out
}

/// What a block of settings is about.
fn heading(one: &SettingDoc) -> String {
    let words = match (one.gateway.as_str(), one.service.as_str()) {
        ("", "") if one.kind.is_empty() => "any gateway, nothing else being known".to_owned(),
        ("", "") => format!("{}, nothing else being known", one.kind),
        ("", service) => format!("service {service} on {}", one.host),
        (gateway, service) => {
            let behind = if service.is_empty() { String::new() } else { format!(", behind it {service}") };
            let source = if one.source.is_empty() { String::new() } else { format!(" ({})", one.source) };
            format!("gateway {gateway} on {} ({}), pool {}{source}{behind}", one.host, one.kind, one.pool)
        }
    };
    clean(&words).into_owned()
}
