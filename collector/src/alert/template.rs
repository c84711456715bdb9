//! The document that a webhook gets: the message as JSON, or what a template of the user's makes of it. In a template
//! whose name ends in .json or .json.j2 every value is written as JSON, quotes and all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior, context};
use serde_json::Value;

use super::message::Message;

/// Largest template, bytes.
const TEMPLATE_MAX: usize = 256 << 10;
/// Largest document, bytes.
const DOCUMENT_MAX: usize = 1 << 20;

/// Makes documents.
pub struct Template {
    /// None: the message itself.
    environment: Option<(Environment<'static>, String)>,
    values: BTreeMap<String, String>,
    is_json: bool,
}

impl Template {
    /// Reads and checks a template.
    pub fn new(path: Option<&PathBuf>, values: &BTreeMap<String, String>) -> Result<Self, String> {
        let values = values.clone();
        let Some(path) = path else { return Ok(Self { environment: None, values, is_json: true }) };
        let text = fs::read_to_string(path).map_err(|error| format!("template {}: {error}", path.display()))?;
        if text.len() > TEMPLATE_MAX {
            return Err(format!("template {} is larger than {TEMPLATE_MAX} bytes", path.display()));
        }
        let name = file_name(path);
        let is_json = name.trim_end_matches(".j2").ends_with(".json");
        let mut environment = Environment::new();
        // A field that is misspelt must not become an empty line in the middle of the night.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let added = environment.add_template_owned(name.clone(), text);
        added.map_err(|error| format!("template {}", told(path, &error)))?;
        let template = Self { environment: Some((environment, name)), values, is_json };
        template
            .document(&Message::sample("", &BTreeMap::new(), 0))
            .map_err(|why| format!("template {}: {why}", path.display()))?;
        Ok(template)
    }

    /// The document of a message.
    pub fn document(&self, message: &Message) -> Result<Vec<u8>, String> {
        let Some((environment, name)) = &self.environment else { return Ok(message.value().to_string().into_bytes()) };
        let template = environment.get_template(name).map_err(|error| error.to_string())?;
        let rendered =
            template.render(context! { values => self.values, ..minijinja::Value::from_serialize(message.value()) });
        let rendered = rendered.map_err(|error| format!("line {}: {error}", error.line().unwrap_or(0)))?;
        if rendered.len() > DOCUMENT_MAX {
            return Err(format!("it makes a document larger than {DOCUMENT_MAX} bytes"));
        }
        if self.is_json {
            let parsed: Result<Value, _> = serde_json::from_str(&rendered);
            parsed.map_err(|error| format!("what it makes is not JSON: {error}"))?;
        }
        Ok(rendered.into_bytes())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A fault of a template: path, line, what.
fn told(path: &Path, error: &minijinja::Error) -> String {
    format!("{}:{}: {error}", path.display(), error.line().unwrap_or(0))
}
