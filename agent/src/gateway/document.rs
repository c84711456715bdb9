//! Configuration files in YAML, JSON or TOML as one tree, in which a reader looks for what it knows. Keys are compared without
//! case and underscores, since these gateways take `load_assignment` for `loadAssignment`. Size and depth are bounded; what
//! a file names twice by an anchor counts each time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use saphyr_parser::{Event, Parser, ScalarStyle};
use toml::de::{DeTable, DeValue};

use super::json;

/// Nodes of one file.
const MOST_NODES: usize = 200_000;
/// Maps and lists within one another.
const MOST_LEVELS: usize = 64;

/// A value and the line where it begins; 0 where that is not known.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Node {
    pub line: usize,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Default)]
enum Value {
    #[default]
    Nothing,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Stands for whatever is not there, so that look-ups can follow one another.
static NOTHING: Node = Node { line: 0, value: Value::Nothing };

/// Reads a file by its name's ending, or by its looks. Several YAML documents are one list. Err: the line and why.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Node, String> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    if path.extension().is_some_and(|ending| ending == "toml") {
        return from_toml(text);
    }
    if text.trim_start().starts_with('{')
        && let Ok(object) = json::object(text.as_bytes())
    {
        return Ok(of_object(&object));
    }
    from_yaml(text)
}

impl Node {
    /// A member of a map; nothing where there is none.
    pub(super) fn get(&self, key: &str) -> &Self {
        let Value::Map(members) = &self.value else { return &NOTHING };
        members.iter().find(|(name, _)| same_key(name, key)).map_or(&NOTHING, |(_, node)| node)
    }

    /// A member of members: `load_assignment.endpoints`.
    pub(super) fn at(&self, path: &str) -> &Self {
        path.split('.').fold(self, |node, key| node.get(key))
    }

    /// Whether there is anything but null.
    pub(super) fn exists(&self) -> bool {
        self.value != Value::Nothing
    }

    /// A scalar's text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text, or none as an empty one.
    pub(super) fn owned(&self) -> String {
        self.text().unwrap_or_default().to_owned()
    }

    /// The text as a number.
    pub(super) fn number<T: FromStr>(&self) -> Option<T> {
        self.text()?.parse().ok()
    }

    /// A switch that is on.
    pub(super) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// A list's items.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// A map's members.
    pub(super) fn members(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(members) => members,
            _ => &[],
        }
    }

    /// Visits this node and all within it, each with the key that it or its list stands under.
    pub(super) fn walk<'n>(&'n self, key: &'n str, visit: &mut dyn FnMut(&'n str, &'n Self)) {
        visit(key, self);
        self.items().iter().for_each(|item| item.walk(key, visit));
        self.members().iter().for_each(|(key, node)| node.walk(key, visit));
    }

    /// As JSON text.
    pub(super) fn json(&self) -> String {
        let joined = |parts: Vec<String>| parts.join(",");
        match &self.value {
            Value::Nothing => "null".to_owned(),
            Value::Text(text) => quoted(text),
            Value::List(items) => format!("[{}]", joined(items.iter().map(Self::json).collect())),
            Value::Map(members) => {
                let members = members.iter().map(|(key, node)| format!("{}:{}", quoted(key), node.json()));
                format!("{{{}}}", joined(members.collect()))
            }
        }
    }

    fn text_at(line: usize, text: &str) -> Self {
        Self { line, value: Value::Text(text.to_owned()) }
    }
}

/// Whether two keys are the same but for case and underscores.
pub(super) fn same_key(one: &str, other: &str) -> bool {
    fn letters(key: &str) -> impl Iterator<Item = u8> {
        key.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
    }
    letters(one).eq(letters(other))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            _ if letter.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn of_object(object: &json::Object<'_>) -> Node {
    let members = object.0.iter().map(|(key, value)| (key.clone().into_owned(), of_value(value)));
    Node { line: 0, value: Value::Map(members.collect()) }
}

fn of_value(value: &json::Value<'_>) -> Node {
    match value {
        json::Value::Null => Node::default(),
        json::Value::Bare(text) | json::Value::Text(text) => Node::text_at(0, text),
        json::Value::List(items) => Node { line: 0, value: Value::List(items.iter().map(of_value).collect()) },
        json::Value::Object(object) => of_object(object),
    }
}

fn from_toml(text: &str) -> Result<Node, String> {
    let line_of = |offset: usize| text.get(..offset).map_or(0, |before| before.matches('\n').count() + 1);
    match DeTable::parse(text) {
        Ok(table) => Ok(of_table(table.get_ref(), &line_of)),
        Err(fault) => {
            let line = fault.span().map_or(0, |span| line_of(span.start));
            Err(format!("{line}: {}", fault.message()))
        }
    }
}

fn of_table(table: &DeTable<'_>, line_of: &dyn Fn(usize) -> usize) -> Node {
    let members = table.iter().map(|(key, value)| {
        let mut node = of_toml(value.get_ref(), line_of);
        node.line = line_of(key.span().start);
        (key.get_ref().clone().into_owned(), node)
    });
    Node { line: 0, value: Value::Map(members.collect()) }
}

fn of_toml(value: &DeValue<'_>, line_of: &dyn Fn(usize) -> usize) -> Node {
    match value {
        DeValue::String(text) => Node::text_at(0, text),
        DeValue::Integer(number) => Node::text_at(0, number.as_str()),
        DeValue::Float(number) => Node::text_at(0, number.as_str()),
        DeValue::Boolean(switch) => Node::text_at(0, if *switch { "true" } else { "false" }),
        DeValue::Datetime(time) => Node::text_at(0, &time.to_string()),
        DeValue::Array(items) => {
            let items =
                items.iter().map(|item| Node { line: line_of(item.span().start), ..of_toml(item.get_ref(), line_of) });
            Node { line: 0, value: Value::List(items.collect()) }
        }
        DeValue::Table(table) => of_table(table, line_of),
    }
}

fn from_yaml(text: &str) -> Result<Node, String> {
    let mut building = Building::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|fault| format!("{}: {}", fault.marker().line(), fault.info()))?;
        building.take(event, span.start.line())?;
    }
    let mut documents = building.documents;
    Ok(match documents.len() {
        1 => documents.remove(0),
        _ => Node { line: 1, value: Value::List(documents) },
    })
}

/// A map or list whose end has not come.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next, and its line.
    key: Option<(String, usize)>,
}

#[derive(Default)]
struct Building {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    count: usize,
}

impl Building {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let nothing =
                    style == ScalarStyle::Plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let value = if nothing { Value::Nothing } else { Value::Text(text.into_owned()) };
                self.add(Node { line, value }, anchor, 1)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().unwrap_or_default();
                let size = size(&node);
                self.add(node, 0, size)
            }
            Event::SequenceStart(anchor, _) => self.open(Value::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => self.open(Value::Map(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.add(merged(node), anchor, 1),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, value: Value, anchor: usize, line: usize) -> Result<(), String> {
        if self.open.len() >= MOST_LEVELS {
            return Err(format!("{line}: nested too deep"));
        }
        self.open.push(Open { node: Node { line, value }, anchor, key: None });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), String> {
        self.count += size;
        if self.count > MOST_NODES {
            return Err(format!("{}: more than can be read", node.line));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            self.count += size;
        }
        let Some(outer) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut outer.node.value, outer.key.take()) {
            (Value::Map(members), Some((key, line))) => members.push((key, Node { line, ..node })),
            (Value::Map(_), None) => outer.key = Some((node.owned(), node.line)),
            (Value::List(items), _) => items.push(node),
            _ => {}
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    let within = node.items().iter().chain(node.members().iter().map(|(_, node)| node));
    1 + within.map(size).sum::<usize>()
}

/// A map with what `<<` names; its own members count first.
fn merged(mut node: Node) -> Node {
    let Value::Map(members) = &mut node.value else { return node };
    while let Some(at) = members.iter().position(|(key, _)| key == "<<") {
        let (_, other) = members.remove(at);
        let others = if other.items().is_empty() { std::slice::from_ref(&other) } else { other.items() };
        for (key, value) in others.iter().flat_map(Node::members) {
            if key != "<<" && !members.iter().any(|(known, _)| known == key) {
                members.push((key.clone(), value.clone()));
            }
        }
    }
    node
}

/// Where a node stands, for what is told of it.
pub(super) fn source<'p>(path: &'p Path, node: &Node) -> Cow<'p, str> {
    let shown = path.to_string_lossy();
    if node.line == 0 { shown } else { format!("{shown}:{}", node.line).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Node {
        parse(Path::new("a.yaml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn the_three_languages_say_the_same() {
        let by_yaml = yaml("a:\n  loadAssignment: [1, {b: 'x: y'}]\n  on: true\nnone: ~\n");
        let by_json =
            parse(Path::new("a.json"), br#"{"a":{"load_assignment":[1,{"b":"x: y"}],"on":true},"none":null}"#);
        let by_toml = parse(Path::new("a.toml"), b"[a]\nloadAssignment = [1, {b = \"x: y\"}]\non = true\n");
        for node in [by_yaml, by_json.unwrap(), by_toml.unwrap()] {
            let list = node.at("a.load_assignment");
            assert_eq!((list.items()[0].number(), list.items()[1].get("B").text()), (Some(1), Some("x: y")));
            assert!(node.at("a.on").is_true() && !node.get("none").exists() && !node.at("x.y.z").exists());
        }
    }

    #[test]
    fn anchors_and_merges_are_followed_within_bounds() {
        let node = yaml("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n");
        assert_eq!((node.at("use.x").number(), node.at("use.y").number()), (Some(1), Some(3)));
        assert_eq!(node.at("again.y").number(), Some(2));
        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(parse(Path::new("a.yaml"), bomb.as_bytes()).unwrap_err().contains("more than can be read"));
        assert!(parse(Path::new("a.yaml"), "[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn faults_name_their_line() {
        assert!(parse(Path::new("a.yaml"), b"a: 1\nb: [1\nc: 2\n").unwrap_err().contains(": "));
        assert!(parse(Path::new("a.toml"), b"a = 1\nb = \n").unwrap_err().starts_with("2: "));
        let node = yaml("a:\n  b:\n    c: 1\n");
        assert_eq!(source(Path::new("/x.yaml"), node.at("a.b.c")), "/x.yaml:3");
        assert_eq!(yaml("a: 1\n---\nb: 2\n").items().len(), 2);
    }
}
