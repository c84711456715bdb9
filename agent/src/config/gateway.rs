//! `[[gateway]]`: the load balancers.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use super::fault::Faults;
use super::section::Section;
use super::service::{file, once};
use super::value::{nearest, shown};
use super::{Gateway, Journald, LogListen, address, whole_unit};
use crate::gateway::Kind;

const KEYS: [&str; 9] =
    ["name", "kind", "access_log", "error_log", "config", "format", "listen", "program", "journald"];
const JOURNALD_KEYS: [&str; 3] = ["unit", "program", "dir"];

pub(super) fn read_all(sections: Vec<Section<'_, '_>>, whole: bool, faults: &mut Faults) -> Vec<Gateway> {
    let mut names = HashMap::new();
    let mut gateways: Vec<Gateway> = Vec::new();
    for section in sections {
        let Some(gateway) = read(&section, whole, &mut names, faults) else { continue };
        let same = |other: &&Gateway| other.listen.is_some() && other.listen == gateway.listen;
        if let Some(other) = gateways.iter().find(same) {
            let what = format!("listen of gateway is also that of \"{}\"", shown(&other.name));
            faults.fault(&listen_span(&section), what, "give each gateway an address of its own");
        }
        gateways.push(gateway);
    }
    gateways
}

fn read(
    section: &Section<'_, '_>,
    whole: bool,
    names: &mut HashMap<String, ()>,
    faults: &mut Faults,
) -> Option<Gateway> {
    section.only(&KEYS, faults);
    let kind = kind(section, whole, faults);
    let name = section.name("name", "edge", faults);
    let at = name.as_ref().map_or_else(|| section.span.clone(), |name| name.span.clone());
    let name = name.map(|name| name.value).or_else(|| kind.map(|kind| kind.id().to_owned())).unwrap_or_default();
    once(names, "gateway", &name, &at, faults);
    let access_log = log(section, "access_log", "/var/log/nginx/access.log", faults);
    let error_log = log(section, "error_log", "/var/log/nginx/error.log", faults);
    let config = log(section, "config", "/etc/nginx/nginx.conf", faults);
    let format = section.text("format", "format = \"$remote_addr $upstream_addr $status\"", faults);
    let listen = listen(section, faults);
    let program = section.name("program", "haproxy", faults);
    if let (Some(program), None | Some(LogListen::Http(_))) = (&program, &listen) {
        let what = "program of gateway sorts syslog messages, and none come";
        faults.warn(&program.span, what, "take it out, or write listen = \"unixgram:///path\" (or udp, tcp)");
    }
    if !["access_log", "error_log", "config", "listen", "journald"].iter().any(|key| section.has(key)) {
        let what = format!("gateway \"{}\" names no log, so none of its errors is seen", shown(&name));
        faults.warn(&section.span, what, "write access_log, error_log, config, listen or journald");
    }
    let example = "journald = { unit = \"haproxy.service\" }";
    let journald = section.table("journald", example, faults).and_then(|table| journald(&table, faults));
    let format = format.map(|found| found.value.to_owned());
    let program = program.map(|found| found.value);
    Some(Gateway { name, kind: kind?, access_log, error_log, config, format, listen, program, journald })
}

fn journald(section: &Section<'_, '_>, faults: &mut Faults) -> Option<Journald> {
    section.only(&JOURNALD_KEYS, faults);
    let unit = section.name("unit", "haproxy.service", faults).map(|unit| whole_unit(&unit.value));
    let program = section.name("program", "haproxy", faults).map(|program| program.value);
    let folder = section.text("dir", "dir = \"/var/log/journal/remote\"", faults).map(|dir| PathBuf::from(dir.value));
    if unit.is_none() && program.is_none() {
        let what = "journald of gateway names neither unit nor program, and the whole journal is no gateway's log";
        faults.fault(&section.span, what, "write journald = { unit = \"haproxy.service\" }");
        return None;
    }
    Some(Journald { unit, program, folder })
}

fn listen(section: &Section<'_, '_>, faults: &mut Faults) -> Option<LogListen> {
    let example = "listen = \"udp://127.0.0.1:1514\" (udp, tcp, http, or unixgram:///path)";
    let listen = section.parsed("listen", example, address::log_listen, faults)?;
    if !address::is_local(&listen) {
        let what = format!("listen of gateway: whoever reaches {listen} can write into this gateway's log");
        faults.warn(
            &listen_span(section),
            what,
            "listen on 127.0.0.1 or at unixgram:///path, or let the firewall admit the gateway alone",
        );
    }
    Some(listen)
}

fn listen_span(section: &Section<'_, '_>) -> Range<usize> {
    section.get("listen").map_or_else(|| section.span.clone(), |found| found.span())
}

fn kind(section: &Section<'_, '_>, whole: bool, faults: &mut Faults) -> Option<Kind> {
    let ids: Vec<&str> = Kind::ALL.iter().map(|(_, id)| *id).collect();
    let all = format!("one of {}", ids.join(", "));
    if whole && !section.has("kind") {
        faults.fault(&section.span, "kind of gateway is missing", format!("write kind = \"nginx\", or another {all}"));
    }
    let found = section.text("kind", "kind = \"nginx\"", faults)?;
    let kind = Kind::from_id(found.value);
    if kind.is_none() {
        let instead = match nearest(found.value, &ids) {
            Some(near) => format!("write kind = \"{near}\", or another {all}"),
            None => format!("write {all}"),
        };
        faults.fault(&found.span, format!("\"{}\" is no kind of gateway", shown(found.value)), instead);
    }
    kind
}

fn log(section: &Section<'_, '_>, key: &'static str, example: &str, faults: &mut Faults) -> Option<PathBuf> {
    let found = section.text(key, &format!("{key} = \"{example}\""), faults)?;
    Some(file(&section.label(key), &found, faults))
}
