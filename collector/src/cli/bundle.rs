//! `bundle`: what a person sends along who asks others for help with a target: what the collector knows of it as one tar.gz,
//! texts to read, the same as documents, and the capsules of its incidents. It asks as every other command does, so it
//! works from wherever those do, and holds nothing that they would not tell.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use why502_proto::v1;

use super::ask::{Client, ask};
use super::{Asking, EXIT_OK, Fault, print};
use crate::render::{self, Style};
use crate::tarball;
use crate::view::{IncidentDoc, IncidentsDoc, NowDoc, StatusDoc, clean, clean_json};

/// The folder that whoever unpacks the file finds.
const FOLDER: &str = "why502-bundle";
/// How far back it goes if not told and no incident is named.
const SINCE: &str = "6h";
/// Most incidents whose capsules are in it: the newest.
const CAPSULES_MAX: usize = 4;
/// This program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it asks for, and what the answers tell. The first tells whether the target is known at all.
const PARTS: [(&str, &str); 4] = [
    ("why", "its incidents, and what it looks like now: states of instances, their newest health results, upstreams"),
    ("timeline", "states, readings, health results and what happened, over time"),
    ("logs", "the lines that agents sent of it, newest first"),
    ("environment", "hosts (CPU, memory, network), what holds its instances, how its gateways are set up"),
];

#[derive(Debug, Args)]
pub(super) struct Bundle {
    /// An upstream address, a service, a host, a gateway, or an incident's id
    target: String,
    /// The file, a tar.gz; it must not be there yet
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// How far back (default 6h; for an incident from before it began)
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
}

/// What was gathered.
#[derive(Default)]
struct Gathered {
    /// Names within the folder, and what is in them.
    files: Vec<(String, Vec<u8>)>,
    /// What is not in it, and why.
    left_out: Vec<String>,
}

/// Gathers all and writes the file.
pub(super) async fn run(client: &mut Client, bundle: Bundle, asking: &Asking) -> Result<u8, Fault> {
    let Bundle { target, output, since } = bundle;
    let asked_since = since.clone().unwrap_or_else(|| SINCE.to_owned());
    let why = ask(client, "why", filters(&target, Some(asked_since.clone())), asking).await?;
    let doc: IncidentsDoc = parse(&why.json)?;
    if !is_known(&doc) {
        return Err(Fault::Failed(format!(
            "nothing is known of {target:?}: name an upstream address, a service, a host, a gateway or an incident's id"
        )));
    }
    let is_incident = doc.incidents.iter().any(|one| one.id == target);
    let since = since.or_else(|| (!is_incident).then_some(asked_since));
    let mut gathered = Gathered::default();
    gathered.answer("why", &why.json)?;
    for (document, _) in &PARTS[1..] {
        let since = since.clone().filter(|_| *document != "environment");
        match ask(client, document, filters(&target, since), asking).await {
            Ok(answer) => gathered.answer(document, &answer.json)?,
            // An older collector knows fewer documents.
            Err(Fault::Usage(why)) => gathered.left_out.push(format!("{document}: {why}")),
            Err(fault) => return Err(fault),
        }
    }
    gathered.capsules(client, &doc.incidents).await;
    let status: StatusDoc = parse(&ask(client, "status", HashMap::new(), asking).await?.json)?;
    let readme = readme(&target, &doc, &status, &gathered);
    gathered.files.insert(0, ("README.txt".to_owned(), readme.into_bytes()));
    let bytes = gathered.write(&output)?;
    print(&told(&output, bytes, &gathered, asking.json))?;
    Ok(EXIT_OK)
}

fn filters(target: &str, since: Option<String>) -> HashMap<String, String> {
    let given = [("target", Some(target.to_owned())), ("since", since)];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(not_understood)
}

fn not_understood(why: serde_json::Error) -> Fault {
    Fault::Unreachable(format!("the collector's answer is not understood: {why}"))
}

fn is_known(doc: &IncidentsDoc) -> bool {
    let seen = |now: &NowDoc| !(now.hosts.is_empty() && now.instances.is_empty() && now.upstreams.is_empty());
    !doc.incidents.is_empty() || doc.now.as_ref().is_some_and(seen)
}

impl Gathered {
    /// Adds an answer, as people read it and as a document.
    fn answer(&mut self, document: &str, json: &str) -> Result<(), Fault> {
        let text = render::document(document, json, Style::default()).map_err(not_understood)?;
        self.files.push((format!("{document}.txt"), text.into_bytes()));
        self.files.push((format!("{document}.json"), format!("{}\n", clean_json(json)).into_bytes()));
        Ok(())
    }

    /// Adds the capsules of the newest incidents.
    async fn capsules(&mut self, client: &mut Client, incidents: &[IncidentDoc]) {
        for one in incidents.iter().take(CAPSULES_MAX) {
            match client.export(v1::ExportRequest { incident: one.id.clone() }).await {
                Ok(answer) => self.files.push((format!("capsules/{}.tar.gz", one.id), answer.into_inner().capsule)),
                Err(status) => self.left_out.push(format!("the capsule of {}: {}", one.id, status.message())),
            }
        }
        if incidents.len() > CAPSULES_MAX {
            let more = incidents.len() - CAPSULES_MAX;
            self.left_out.push(format!("the capsules of {more} older incidents: why502 incident export ID -o FILE"));
        }
    }

    /// Packs all into a file that was not there; gives its size.
    fn write(&self, output: &Path) -> Result<usize, Fault> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Fault::Failed(format!("{}: is there already: name another file", output.display()))
            }
            _ => Fault::Failed(format!("{}: {error}", output.display())),
        };
        let files: Vec<(String, &[u8])> =
            self.files.iter().map(|(name, bytes)| (format!("{FOLDER}/{name}"), bytes.as_slice())).collect();
        let packed = tarball::pack(files.iter().map(|(name, bytes)| (name.as_str(), *bytes))).map_err(failed)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(output).map_err(failed)?;
        file.write_all(&packed).map_err(|error| {
            // Half a file helps nobody.
            let _ = fs::remove_file(output);
            failed(error)
        })?;
        Ok(packed.len())
    }
}

/// What a reader must know first.
fn readme(target: &str, doc: &IncidentsDoc, status: &StatusDoc, gathered: &Gathered) -> String {
    let at = doc.now.as_ref().map(|now| now.at.as_str()).unwrap_or_default();
    let collector = &status.collector;
    let mut lines = vec![
        format!("What why502 knows of {target} at {at}."),
        format!(
            "Written by why502 {VERSION} from a collector {} that runs since {}.",
            collector.version, collector.started
        ),
        String::new(),
        "Incidents".to_owned(),
    ];
    let incident = |one: &IncidentDoc| {
        let sure = one.confidence * 100.0;
        format!("  {}  {}  {} ({}, {sure:.0}% sure)", one.id, one.state, one.sentence, one.cause)
    };
    lines.extend(doc.incidents.iter().map(incident));
    if doc.incidents.is_empty() {
        lines.push("  none in that time".to_owned());
    }
    lines.extend([String::new(), "Files".to_owned()]);
    let has = |name: &str| gathered.files.iter().any(|(file, _)| file.starts_with(name));
    let parts = PARTS.iter().filter(|(document, _)| has(document));
    lines.extend(parts.map(|(document, what)| format!("  {document}.txt, {document}.json: {what}")));
    if has("capsules/") {
        lines.push(
            "  capsules/ID.tar.gz: the raw records of an incident; why502 replay FILE gives its verdict again"
                .to_owned(),
        );
    }
    if !gathered.left_out.is_empty() {
        lines.extend([String::new(), "Not in it".to_owned()]);
        lines.extend(gathered.left_out.iter().map(|what| format!("  {what}")));
    }
    lines.extend([
        String::new(),
        "Before you send it".to_owned(),
        "  Agents mask passwords, tokens, keys and cookies on their hosts before anything leaves those, so none should be".to_owned(),
        "  in here. Names of hosts and services, addresses, paths of requests and lines of logs are: look through it.".to_owned(),
    ]);
    lines.iter().map(|line| format!("{}\n", clean(line))).collect()
}

fn told(output: &Path, bytes: usize, gathered: &Gathered, as_json: bool) -> String {
    let names: Vec<&str> = gathered.files.iter().map(|(name, _)| name.as_str()).collect();
    let output = output.display().to_string();
    if as_json {
        let told = json!({"file": output, "bytes": bytes, "files": names, "left_out": gathered.left_out});
        return format!("{}\n", clean_json(&told.to_string()));
    }
    let mut told = format!("{}: {} KiB: {}\n", clean(&output), bytes.div_ceil(1024), clean(&names.join(", ")));
    told.extend(gathered.left_out.iter().map(|what| format!("not in it: {}\n", clean(what))));
    told
}
