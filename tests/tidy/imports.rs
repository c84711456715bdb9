//! Who may import whom: the table of the design, as it stands in this workspace. A path counts wherever it is written:
//! in a `use`, in the code, inside a macro.

use super::source::Source;

/// What the files below some modules never name.
struct Rule {
    /// The crate's folder.
    folder: &'static str,
    /// Modules, each with everything below it.
    modules: &'static [&'static str],
    /// Paths: of other crates, or `crate::module`.
    never: &'static [&'static str],
}

/// Edges of the collector: each stands alone.
const TABLE: &[Rule] = &[
    // Pure readers of text: no runtime, no schema, nothing of the crate but themselves.
    Rule {
        folder: "agent",
        modules: &["kernel", "backoff"],
        never: &[
            "tokio",
            "tonic",
            "prost",
            "why502_proto",
            "crate::gateway",
            "crate::sampler",
            "crate::watch",
            "crate::report",
            "crate::spool",
            "crate::uplink",
            "crate::tail",
            "crate::config",
            "crate::cli",
        ],
    },
    Rule {
        folder: "agent",
        modules: &["gateway"],
        never: &[
            "tokio",
            "tonic",
            "prost",
            "why502_proto",
            "std::fs",
            "std::net::TcpStream",
            "crate::kernel",
            "crate::sampler",
            "crate::watch",
            "crate::report",
            "crate::spool",
            "crate::uplink",
            "crate::tail",
            "crate::config",
            "crate::cli",
        ],
    },
    // Samplers and watchers fill the schema's messages, and know nothing of how those travel.
    Rule {
        folder: "agent",
        modules: &["sampler", "watch"],
        never: &["tonic", "prost", "crate::uplink", "crate::spool", "crate::report", "crate::cli"],
    },
    Rule {
        folder: "agent",
        modules: &["tail", "journald"],
        never: &["crate::gateway", "why502_proto", "tonic", "crate::uplink"],
    },
    // Who the host is to its collectors has nothing to do with what it sees.
    Rule {
        folder: "agent",
        modules: &["identity"],
        never: &[
            "crate::sampler",
            "crate::kernel",
            "crate::gateway",
            "crate::watch",
            "crate::tail",
            "crate::report",
            "crate::spool",
            "crate::uplink",
            "crate::config",
            "crate::cli",
        ],
    },
    Rule { folder: "agent", modules: &["report"], never: &["tokio", "tonic", "crate::uplink"] },
    Rule {
        folder: "agent",
        modules: &["spool", "uplink"],
        never: &["crate::sampler", "crate::kernel", "crate::gateway", "crate::watch", "crate::cli"],
    },
    Rule {
        folder: "collector",
        modules: &["model"],
        never: &[
            "tokio",
            "tonic",
            "prost",
            "why502_proto",
            "std::fs",
            "std::net::TcpStream",
            "std::time::SystemTime",
            "std::time::Instant",
            "crate::wire",
            "crate::journal",
            "crate::engine",
            "crate::core",
            "crate::fleet",
            "crate::view",
            "crate::ingest",
            "crate::query",
        ],
    },
    Rule {
        folder: "collector",
        modules: &["journal"],
        never: &["crate::model", "crate::wire", "crate::core", "crate::engine", "why502_proto", "prost", "tonic"],
    },
    Rule {
        folder: "collector",
        modules: &["wire"],
        never: &["crate::journal", "crate::fleet", "crate::engine", "crate::core", "crate::view", "tonic", "tokio"],
    },
    Rule {
        folder: "collector",
        modules: &["view", "render"],
        never: &[
            "why502_proto",
            "prost",
            "tonic",
            "tokio",
            "crate::journal",
            "crate::engine",
            "crate::query",
            "crate::ingest",
        ],
    },
    // The pure core: the same records give the same verdict.
    Rule {
        folder: "collector",
        modules: &["core", "fleet", "case", "classify", "incident", "book"],
        never: &[
            "std::fs",
            "std::net::TcpStream",
            "std::time::SystemTime",
            "std::time::Instant",
            "std::env",
            "rand",
            "tokio",
            "tonic",
            "prost",
            "why502_proto",
            "crate::journal",
            "crate::wire",
            "crate::engine",
            "crate::ingest",
            "crate::query",
            "crate::view",
            "crate::render",
            "crate::alert",
            "crate::web",
            "crate::cli",
            "crate::config",
        ],
    },
    Rule {
        folder: "collector",
        modules: &["engine"],
        never: &["tonic", "axum", "crate::ingest", "crate::query", "crate::alert", "crate::web", "crate::cli"],
    },
    // A capsule is made of the journal and folded again, whoever asks for it.
    Rule {
        folder: "collector",
        modules: &["capsule"],
        never: &[
            "why502_proto",
            "prost",
            "tonic",
            "axum",
            "crate::ingest",
            "crate::query",
            "crate::alert",
            "crate::web",
            "crate::identity",
            "crate::config",
            "crate::cli",
        ],
    },
    // Who may come in is decided at the front doors; nothing behind them knows of it.
    Rule {
        folder: "collector",
        modules: &["identity", "doors", "listen"],
        never: &[
            "crate::model",
            "crate::wire",
            "crate::journal",
            "crate::engine",
            "crate::core",
            "crate::fleet",
            "crate::case",
            "crate::classify",
            "crate::incident",
            "crate::ingest",
            "crate::query",
            "crate::alert",
            "crate::web",
            "crate::config",
            "crate::cli",
        ],
    },
    Rule { folder: "collector", modules: &["identity", "listen"], never: &["crate::view", "crate::render"] },
    Rule {
        folder: "collector",
        modules: &["engine", "journal", "wire", "core", "view", "render"],
        never: &["crate::identity", "crate::doors", "crate::listen"],
    },
    Rule {
        folder: "collector",
        modules: &["ingest"],
        never: &[
            "crate::view",
            "crate::core",
            "crate::fleet",
            "crate::case",
            "crate::classify",
            "crate::incident",
            "crate::query",
            "crate::alert",
            "crate::web",
            "crate::journal",
            "crate::cli",
        ],
    },
    Rule {
        folder: "collector",
        modules: &["query", "alert", "web"],
        never: &[
            "crate::journal",
            "crate::core",
            "crate::ingest",
            "crate::fleet",
            "crate::case",
            "crate::classify",
            "crate::cli",
        ],
    },
    Rule { folder: "collector", modules: &["query"], never: &["crate::alert", "crate::web"] },
    Rule { folder: "collector", modules: &["alert"], never: &["crate::query", "crate::web", "why502_proto"] },
    Rule { folder: "collector", modules: &["web"], never: &["crate::query", "crate::alert", "why502_proto"] },
];

/// Samplers and watchers see one subject each and never name each other.
const SIBLINGS: &[(&str, &str)] = &[("agent", "sampler"), ("agent", "watch")];

/// Where a file names what it may not.
pub fn faults(source: &Source) -> Vec<String> {
    let Some((folder, module)) = place(&source.name) else { return Vec::new() };
    let named = named_paths(source, &module);
    let mut faults = Vec::new();
    for rule in TABLE.iter().filter(|rule| rule.folder == folder && rule.modules.contains(&module[0].as_str())) {
        for (path, line) in &named {
            if let Some(never) = rule.never.iter().find(|never| is_below(path, never)) {
                faults.push(format!("{}:{line}: {} never imports {never}", source.name, module[0]));
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// `path` is `above` or lies below it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The crate's folder and the module that a file is.
fn place(name: &str) -> Option<(&str, Vec<String>)> {
    let (folder, rest) = name.split_once("/src/")?;
    let module: Vec<String> = rest.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    Some((folder, module))
}

/// Every path that a file names, `super` and `self` resolved.
fn named_paths(source: &Source, module: &[String]) -> Vec<(String, usize)> {
    let used = source.uses.iter().cloned();
    used.chain(paths_in_code(source)).map(|(path, line)| (resolve(&path, module), line)).collect()
}

/// Paths written out in the code: words joined by `::`.
fn paths_in_code(source: &Source) -> Vec<(Vec<String>, usize)> {
    let (mut paths, mut current): (Vec<(Vec<String>, usize)>, Vec<String>) = (Vec::new(), Vec::new());
    let tokens = &source.tokens;
    let mut at = 0;
    while at < tokens.len() {
        let is_word = tokens[at].text.starts_with(|first: char| first.is_alphabetic() || first == '_');
        let joined = tokens.get(at + 1).is_some_and(|next| next.text == ":")
            && tokens.get(at + 2).is_some_and(|next| next.text == ":");
        if is_word {
            current.push(tokens[at].text.clone());
        }
        if is_word && joined {
            at += 3;
            continue;
        }
        if current.len() > 1 {
            paths.push((current.clone(), tokens[at].line));
        }
        current.clear();
        at += 1;
    }
    paths
}

/// A path from the crate's root, where it begins with `super` or `self`.
fn resolve(path: &[String], module: &[String]) -> String {
    let mut base: Vec<String> = module.to_vec();
    let mut rest = path;
    let mut relative = false;
    while let Some(first) = rest.first().filter(|first| *first == "super" || *first == "self") {
        if first == "super" {
            base.pop();
        }
        relative = true;
        rest = &rest[1..];
    }
    let head = if relative { [vec!["crate".to_owned()], base].concat() } else { Vec::new() };
    [head, rest.to_vec()].concat().join("::")
}

/// Where a file names its sibling below the same parent.
pub fn sibling_faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for (folder, parent) in SIBLINGS {
        let children: Vec<(&Source, String)> = sources
            .iter()
            .filter_map(|source| {
                let (place, module) = place(&source.name)?;
                (place == *folder && module.len() > 1 && module[0] == *parent).then(|| (source, module[1].clone()))
            })
            .collect();
        for (source, own) in &children {
            let Some((_, module)) = place(&source.name) else { continue };
            for (path, line) in named_paths(source, &module) {
                let sibling = children
                    .iter()
                    .map(|(_, child)| child)
                    .find(|child| *child != own && is_below(&path, &format!("crate::{parent}::{child}")));
                if let Some(sibling) = sibling {
                    faults.push(format!("{}:{line}: {own} never imports its sibling {sibling}", source.name));
                }
            }
        }
    }
    faults
}
