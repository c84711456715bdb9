//! Reading one table of the file by its keys. Each reader takes a key and tells of a wrong type or value itself, so that
//! the callers are lists of keys; none of them stops at a fault.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Faults;
use super::value;

/// A value with the place where it stands.
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table of the file.
pub(super) struct Section<'a, 'i> {
    /// How faults name its keys: "" at the top, else "service", "health" ...
    name: &'static str,
    table: &'a DeTable<'i>,
    /// Where it begins.
    pub(super) span: Range<usize>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn new(name: &'static str, table: &'a DeTable<'i>, span: Range<usize>) -> Self {
        Self { name, table, span }
    }

    /// How a fault names a key of this table.
    pub(super) fn label(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{} of {}", key, self.name) }
    }

    /// Tells of every key that is not one of these.
    pub(super) fn only(&self, known: &[&str], faults: &mut Faults) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let label = self.label(&format!("\"{}\"", value::shown(name)));
            let instead = match value::nearest(name, known) {
                Some(near) => format!("write {near}, or take it out"),
                None => format!("take it out; the keys here are {}", known.join(", ")),
            };
            faults.fault(&key.span(), format!("unknown key {label}"), instead);
        }
    }

    /// A value as it stands.
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// Whether the key stands there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A text that is not empty and holds no control characters.
    pub(super) fn text(&self, key: &str, example: &str, faults: &mut Faults) -> Option<Placed<&'a str>> {
        let found = self.get(key)?;
        self.text_of(key, found, example, faults)
    }

    fn text_of(
        &self,
        key: &str,
        found: &'a Spanned<DeValue<'i>>,
        example: &str,
        faults: &mut Faults,
    ) -> Option<Placed<&'a str>> {
        let label = self.label(key);
        let Some(text) = found.get_ref().as_str() else {
            let kind = value::kind(found.get_ref());
            faults.fault(&found.span(), format!("{label} is {kind}, not a text"), format!("write {example}"));
            return None;
        };
        if text.trim().is_empty() {
            faults.fault(&found.span(), format!("{label} is empty"), format!("write {example}"));
            return None;
        }
        if text.chars().any(char::is_control) {
            let what = format!("{label} holds a control character: \"{}\"", value::shown(text));
            faults.fault(&found.span(), what, format!("write {example}"));
            return None;
        }
        Some(Placed { value: text, span: found.span() })
    }

    /// A name: a text of bounded length.
    pub(super) fn name(&self, key: &str, example: &str, faults: &mut Faults) -> Option<Placed<String>> {
        let found = self.text(key, &format!("{key} = \"{example}\""), faults)?;
        let length = found.value.chars().count();
        if length > value::NAME_LIMIT {
            let what = format!("{} is {length} characters long", self.label(key));
            faults.fault(&found.span, what, format!("write at most {}", value::NAME_LIMIT));
            return None;
        }
        Some(Placed { value: found.value.trim().to_owned(), span: found.span })
    }

    /// A text that a parser makes something of; its error is what is wrong with it.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        faults: &mut Faults,
    ) -> Option<T> {
        let found = self.text(key, example, faults)?;
        match parse(found.value) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                faults.fault(&found.span, format!("{}: {why}", self.label(key)), format!("write {example}"));
                None
            }
        }
    }

    /// A duration within limits, or its default.
    pub(super) fn duration(&self, key: &str, limits: &value::Limits, faults: &mut Faults) -> Duration {
        let example = format!("{key} = \"{}\"", limits.default_text);
        let parsed = self.parsed(key, &example, |text| limits.parse(text), faults);
        parsed.unwrap_or_else(|| limits.default())
    }

    /// A whole number within bounds, or its default.
    pub(super) fn whole(&self, key: &str, bounds: RangeInclusive<u64>, default: u64, faults: &mut Faults) -> u64 {
        let Some(found) = self.get(key) else { return default };
        let number = found.get_ref().as_integer().and_then(|number| number.as_str().replace('_', "").parse().ok());
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = bounds.into_inner();
            let what = format!("{} is no whole number from {least} to {most}", self.label(key));
            faults.fault(&found.span(), what, format!("write {key} = {default}"));
        }
        number.unwrap_or(default)
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str, faults: &mut Faults) -> bool {
        let Some(found) = self.get(key) else { return false };
        let flag = found.get_ref().as_bool();
        if flag.is_none() {
            let what = format!("{} is {}, not true or false", self.label(key), value::kind(found.get_ref()));
            faults.fault(&found.span(), what, format!("write {key} = true or {key} = false, without quotes"));
        }
        flag.unwrap_or(false)
    }

    /// The values of a list. A single value is told as a fault.
    pub(super) fn list(&self, key: &str, example: &str, faults: &mut Faults) -> Vec<&'a Spanned<DeValue<'i>>> {
        let Some(found) = self.get(key) else { return Vec::new() };
        let Some(array) = found.get_ref().as_array() else {
            let what = format!("{} is {}, not a list", self.label(key), value::kind(found.get_ref()));
            faults.fault(&found.span(), what, format!("write {key} = [{example}]"));
            return Vec::new();
        };
        array.iter().collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, key: &str, example: &str, faults: &mut Faults) -> Vec<Placed<&'a str>> {
        let example_line = format!("{key} = [{example}]");
        let values = self.list(key, example, faults);
        values.into_iter().filter_map(|value| self.text_of(key, value, &example_line, faults)).collect()
    }

    /// A table inside this one.
    pub(super) fn table(&self, key: &'static str, example: &str, faults: &mut Faults) -> Option<Section<'a, 'i>> {
        let found = self.get(key)?;
        let Some(table) = found.get_ref().as_table() else {
            let what = format!("{} is {}, not a table", self.label(key), value::kind(found.get_ref()));
            faults.fault(&found.span(), what, format!("write {example}"));
            return None;
        };
        Some(Section::new(key, table, found.span()))
    }

    /// The tables that `[[key]]` lines begin.
    pub(super) fn tables(&self, key: &'static str, faults: &mut Faults) -> Vec<Section<'a, 'i>> {
        let mut sections = Vec::new();
        let Some(found) = self.get(key) else { return sections };
        let instead = format!("begin each with a line [[{key}]]");
        let Some(array) = found.get_ref().as_array() else {
            faults.fault(&found.span(), format!("{key} is {}", value::kind(found.get_ref())), instead);
            return sections;
        };
        for entry in array.iter() {
            match entry.get_ref().as_table() {
                Some(table) => sections.push(Section::new(key, table, entry.span())),
                None => {
                    let what = format!("{key} holds {}", value::kind(entry.get_ref()));
                    faults.fault(&entry.span(), what, instead.clone());
                }
            }
        }
        sections
    }
}
