//! The access logs of listeners and their formats, as `--format` takes them.

use crate::gateway::LogSetting;
use crate::gateway::document::{self, Node};

/// Adds the access logs of a document, each once.
pub(super) fn read(document: &Node, logs: &mut Vec<LogSetting>) {
    document.walk("", &mut |key, node| {
        if !document::same_key(key, "access_log") || node.get("name").text().is_none() {
            return;
        }
        let config = if node.get("typed_config").exists() { node.get("typed_config") } else { node.get("config") };
        if let Some(target) = target(node, config) {
            let setting = LogSetting { target: Some(target), format: format(config), ..LogSetting::default() };
            if !logs.contains(&setting) {
                logs.push(setting);
            }
        }
    });
}

/// The file, or the standard stream.
fn target(log: &Node, config: &Node) -> Option<String> {
    if let Some(path) = config.get("path").text() {
        return Some(path.to_owned());
    }
    let kind = [log.get("name"), config.get("@type")].into_iter().filter_map(Node::text).collect::<String>();
    let kind = kind.to_ascii_lowercase();
    let streams = [("stdout", "/dev/stdout"), ("stderr", "/dev/stderr")];
    streams.iter().find(|(word, _)| kind.contains(word)).map(|(_, path)| (*path).to_owned())
}

/// None: Envoy's own.
fn format(config: &Node) -> Option<String> {
    let of = |node: &Node| {
        let text = [node.at("text_format_source.inline_string"), node.get("text_format")];
        let json = [node.get("json_format"), node.get("typed_json_format")];
        let text = text.into_iter().find_map(Node::text).map(|text| text.trim_end_matches('\n').to_owned());
        text.or_else(|| json.into_iter().find(|node| node.exists()).map(Node::json))
    };
    of(config.get("log_format")).or_else(|| config.get("format").text().map(str::to_owned)).or_else(|| of(config))
}
