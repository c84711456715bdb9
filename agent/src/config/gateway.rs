//! `[[gateway]]`: the load balancers.

use std::collections::HashMap;
use std::path::PathBuf;

use super::fault::Faults;
use super::section::Section;
use super::service::{file, once};
use super::value::{nearest, shown};
use super::{Gateway, address};
use crate::gateway::Kind;

const KEYS: [&str; 7] = ["name", "kind", "access_log", "error_log", "config", "format", "listen"];

pub(super) fn read_all(sections: Vec<Section<'_, '_>>, whole: bool, faults: &mut Faults) -> Vec<Gateway> {
    let mut names = HashMap::new();
    let mut gateways = Vec::new();
    for section in sections {
        gateways.extend(read(&section, whole, &mut names, faults));
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
    let example = "listen = \"udp://127.0.0.1:1514\" (udp, tcp, http, or unixgram:///path)";
    let listen = section.parsed("listen", example, address::log_target, faults);
    if !["access_log", "error_log", "config", "listen"].iter().any(|key| section.has(key)) {
        let what = format!("gateway \"{}\" names no log, so none of its errors is seen", shown(&name));
        faults.warn(&section.span, what, "write access_log, error_log, config or listen");
    }
    let format = format.map(|found| found.value.to_owned());
    Some(Gateway { name, kind: kind?, access_log, error_log, config, format, listen })
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
