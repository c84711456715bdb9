//! Which setting holds where: a block takes its own, else the one of the block around it, and so on outwards.

use super::tree::Directive;

/// Values that one variable may have at most.
const MOST_VALUES: usize = 64;
/// Variables within values of variables that are followed.
const MOST_STEPS: usize = 8;

/// A block and what stands around it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'t> {
    directives: &'t [Directive],
    outer: Option<&'t Scope<'t>>,
}

impl<'t> Scope<'t> {
    /// The file itself.
    pub(super) fn root(directives: &'t [Directive]) -> Self {
        Self { directives, outer: None }
    }

    /// A block within this one.
    pub(super) fn inner(&'t self, block: &'t Directive) -> Scope<'t> {
        Scope { directives: &block.block, outer: Some(self) }
    }

    /// The directives of this block by name.
    pub(super) fn own<'n>(&self, name: &'n str) -> impl Iterator<Item = &'t Directive> + use<'t, 'n> {
        self.directives.iter().filter(move |directive| directive.name == name)
    }

    /// The directives of the nearest block that has any of this name.
    pub(super) fn all(&self, name: &str) -> Vec<&'t Directive> {
        let own: Vec<&Directive> = self.own(name).collect();
        match (own.is_empty(), self.outer) {
            (true, Some(outer)) => outer.all(name),
            _ => own,
        }
    }

    /// The first argument that holds here.
    pub(super) fn value(&self, name: &str) -> Option<&'t str> {
        self.all(name).last().and_then(|directive| directive.args.first()).map(String::as_str)
    }

    /// Whether a switch is on here.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("on")
    }

    /// All that a text with variables may become; nothing if that can't be told.
    pub(super) fn resolve(&self, text: &str) -> Vec<String> {
        self.resolve_within(text, MOST_STEPS)
    }

    fn resolve_within(&self, text: &str, steps: usize) -> Vec<String> {
        let Some(at) = text.find('$') else { return vec![text.to_owned()] };
        let (before, rest) = (&text[..at], &text[at + 1..]);
        let (name, after) = match rest.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(parts) => parts,
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        // What follows the address is the path: it need not be known.
        let is_path = |before: &str| before.split_once("://").map_or(before, |(_, rest)| rest).contains('/');
        if is_path(before) && !before.contains("unix:") {
            return vec![before.to_owned()];
        }
        if steps == 0 {
            return Vec::new();
        }
        let values = self.values(name);
        let texts = values.iter().flat_map(|value| self.resolve_within(&format!("{before}{value}{after}"), steps - 1));
        let mut texts: Vec<String> = texts.take(MOST_VALUES).collect();
        texts.sort();
        texts.dedup();
        texts
    }

    /// The values that `set`, `map` and `split_clients` give a variable.
    fn values(&self, name: &str) -> Vec<&'t str> {
        let is_named = |arg: Option<&String>| arg.is_some_and(|arg| arg.strip_prefix('$') == Some(name));
        let set = self.own("set").filter(|set| is_named(set.args.first())).filter_map(|set| set.args.get(1));
        let maps = self.own("map").chain(self.own("split_clients")).chain(self.own("geo"));
        let mapped = maps.filter(|map| is_named(map.args.last())).flat_map(|map| {
            let is_value = |entry: &&Directive| !matches!(entry.name.as_str(), "hostnames" | "volatile" | "include");
            map.block.iter().filter(is_value).filter_map(|entry| entry.args.first())
        });
        let values: Vec<&str> = set.chain(mapped).map(String::as_str).filter(|value| !value.is_empty()).collect();
        match (values.is_empty(), self.outer) {
            (true, Some(outer)) => outer.values(name),
            _ => values,
        }
    }
}
