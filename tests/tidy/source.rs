//! One Rust file as the rules see it: its tests taken out, the rest as a flat run of tokens.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;

/// A file without its tests.
pub struct Source {
    /// Path below the root.
    pub name: String,
    /// Lines outside test items.
    pub lines: usize,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its tokens, groups opened up.
    pub tokens: Vec<Token>,
    /// It begins with `//!`.
    pub has_module_doc: bool,
    /// Every path that a `use` brings in, in full.
    pub uses: Vec<(Vec<String>, usize)>,
    /// Modules in files of their own that only tests compile.
    pub test_modules: Vec<String>,
}

/// A function.
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// How long it is.
    pub lines: usize,
}

/// A word or sign with its line.
pub struct Token {
    /// As written.
    pub text: String,
    /// Its line.
    pub line: usize,
}

impl Source {
    /// Whether `other` is one of this file's test modules, or lies below one.
    pub fn tests_are_in(&self, other: &str) -> bool {
        let own = self.name.trim_end_matches(".rs");
        let folder = own.strip_suffix("/lib").or(own.strip_suffix("/main")).unwrap_or(own);
        self.test_modules.iter().any(|module| {
            let rest = other.strip_prefix(&format!("{folder}/{module}"));
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    }

    /// Reads and parses a file.
    pub fn read(path: &Path, name: String) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut file = syn::parse_file(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let mut tests = TakeTests { lines: 0 };
        let test_modules = test_modules(&file.items);
        tests.visit_file_mut(&mut file);
        let mut seen = Seen::default();
        seen.visit_file(&file);
        let mut tokens = Vec::new();
        flatten(file.to_token_stream(), &mut tokens);
        Self {
            lines: text.lines().count() - tests.lines,
            functions: seen.functions,
            uses: seen.uses,
            has_module_doc: text.starts_with("//!"),
            test_modules,
            tokens,
            name,
        }
    }
}

fn test_modules(items: &[syn::Item]) -> Vec<String> {
    let only_tests = items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && TakeTests::is_test(&module.attrs) => Some(module),
        _ => None,
    });
    only_tests.map(|module| module.ident.to_string()).collect()
}

/// Takes out what only tests compile.
struct TakeTests {
    lines: usize,
}

impl TakeTests {
    fn is_test(attributes: &[syn::Attribute]) -> bool {
        attributes.iter().any(|attribute| {
            attribute.path().is_ident("test")
                || attribute.path().is_ident("cfg")
                    && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
        })
    }

    fn take<T: Spanned>(&mut self, items: &mut Vec<T>, attributes: impl Fn(&T) -> Option<&[syn::Attribute]>) {
        items.retain(|item| {
            let is_test = attributes(item).is_some_and(Self::is_test);
            if is_test {
                self.lines += item.span().end().line + 1 - item.span().start().line;
            }
            !is_test
        });
    }
}

impl VisitMut for TakeTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        self.take(&mut file.items, item_attributes);
        syn::visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            self.take(items, item_attributes);
        }
        syn::visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        self.take(&mut block.items, |item| match item {
            syn::ImplItem::Fn(function) => Some(&function.attrs),
            syn::ImplItem::Const(constant) => Some(&constant.attrs),
            _ => None,
        });
        syn::visit_mut::visit_item_impl_mut(self, block);
    }
}

fn item_attributes(item: &syn::Item) -> Option<&[syn::Attribute]> {
    Some(match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        _ => return None,
    })
}

/// Functions and imports.
#[derive(Default)]
struct Seen {
    functions: Vec<Function>,
    uses: Vec<(Vec<String>, usize)>,
}

impl Seen {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (from, to) = (signature.span().start().line, block.span().end().line);
        self.functions.push(Function { name: signature.ident.to_string(), line: from, lines: to + 1 - from });
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
            syn::UseTree::Name(name) => self.uses.push((with(&name.ident), name.span().start().line)),
            syn::UseTree::Rename(name) => self.uses.push((with(&name.ident), name.span().start().line)),
            syn::UseTree::Glob(glob) => self.uses.push((before.to_vec(), glob.span().start().line)),
        }
    }
}

impl<'a> Visit<'a> for Seen {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                tokens.push(Token { text: "(".to_owned(), line });
                flatten(group.stream(), tokens);
                tokens.push(Token { text: ")".to_owned(), line });
            }
            TokenTree::Literal(_) => tokens.push(Token { text: "literal".to_owned(), line }),
            other => tokens.push(Token { text: other.to_string(), line }),
        }
    }
}

/// Calls that end the program, or that grow a queue without a bound: as runs of tokens.
const BANNED: [(&[&str], &str); 12] = [
    (&[".", "unwrap", "("], "unwrap: return the fault"),
    (&[".", "unwrap_err", "("], "unwrap_err: return the fault"),
    (&[".", "expect", "("], "expect: return the fault"),
    (&[".", "expect_err", "("], "expect_err: return the fault"),
    (&["panic", "!"], "panic!: return the fault"),
    (&["todo", "!"], "todo!: do it"),
    (&["unimplemented", "!"], "unimplemented!: do it"),
    (&["unreachable", "!"], "unreachable!: let the types say it"),
    (&["process", ":", ":", "exit"], "process::exit: return an ExitCode from main"),
    (&["unbounded_channel"], "an unbounded channel: give it a bound"),
    (&["UnboundedSender"], "an unbounded channel: give it a bound"),
    (&["unbounded", "("], "an unbounded channel: give it a bound"),
];

/// Where a file calls what it may not.
pub fn banned_calls(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (run, says) in BANNED {
        for window in source.tokens.windows(run.len()) {
            if window.iter().zip(run).all(|(token, wanted)| token.text == *wanted) {
                faults.push(format!("{}:{}: {says}", source.name, window[0].line));
            }
        }
    }
    // std's mpsc::channel has no bound; tokio's takes one and is told apart by its path.
    for (path, line) in &source.uses {
        if path.join("::").starts_with("std::sync::mpsc::channel") {
            faults.push(format!("{}:{line}: std::sync::mpsc::channel has no bound: use sync_channel", source.name));
        }
    }
    let std_mpsc = source.uses.iter().any(|(path, _)| path.join("::") == "std::sync::mpsc");
    for window in source.tokens.windows(4) {
        let is_call =
            [("mpsc", 0), (":", 1), (":", 2), ("channel", 3)].iter().all(|(word, at)| window[*at].text == *word);
        if std_mpsc && is_call {
            faults.push(format!(
                "{}:{}: std's mpsc::channel has no bound: use sync_channel",
                source.name, window[0].line
            ));
        }
    }
    faults
}

/// What of a schema has no comment before it or behind it.
pub fn undocumented(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut commented = false;
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let is_comment = line.starts_with("//");
        let passes = line.is_empty()
            || line.starts_with('}')
            || ["syntax", "package", "import", "option", "reserved"].iter().any(|word| line.starts_with(word));
        if !is_comment && !passes && !commented && !line.contains("//") {
            faults.push(format!("{name}:{}: {line}", index + 1));
        }
        commented = is_comment;
    }
    faults
}
