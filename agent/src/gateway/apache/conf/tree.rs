//! The text of Apache's configuration as a tree: a directive a line, sections in angle brackets, includes put in their
//! places, `${NAME}` from `Define` and from the `envvars` file beside the configuration. Sections that only ask whether a module
//! or a name is there are taken as if they were not written, but for names: those are known.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::gateway::Files;

/// Sections within sections, and files within files, that are followed.
const MOST_LEVELS: usize = 32;
/// Files of one configuration, and directives of all of them.
const MOST_FILES: usize = 2_000;
const MOST_DIRECTIVES: usize = 500_000;

/// One directive or section; its name in small letters.
#[derive(Debug, Clone, Default)]
pub(super) struct Directive {
    pub name: String,
    pub args: Vec<String>,
    pub inner: Vec<Directive>,
    /// `file:line`.
    pub source: String,
}

impl Directive {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }
}

/// A configuration as read, with what could not be.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub directives: Vec<Directive>,
    pub files: Vec<PathBuf>,
    pub faults: Vec<String>,
}

/// Reads a configuration and all that it includes.
pub(super) fn read(path: &Path, files: &dyn Files) -> Tree {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut reading = Reading {
        files,
        root: folder.to_path_buf(),
        names: HashMap::new(),
        tree: Tree::default(),
        sections: vec![Directive::default()],
        count: 0,
    };
    if let Ok(text) = files.read(&folder.join("envvars")) {
        reading.environment(&String::from_utf8_lossy(&text));
    }
    reading.file(path, 0);
    while reading.sections.len() > 1 {
        let source = reading.sections.last().map_or_else(String::new, |section| section.source.clone());
        reading.tree.faults.push(format!("{source}: the section is not closed"));
        reading.close();
    }
    let outermost = reading.sections.pop().unwrap_or_default();
    Tree { directives: outermost.inner, ..reading.tree }
}

struct Reading<'f> {
    files: &'f dyn Files,
    /// `ServerRoot`, what includes are relative to.
    root: PathBuf,
    names: HashMap<String, String>,
    tree: Tree,
    /// The sections that are open, outermost first.
    sections: Vec<Directive>,
    count: usize,
}

impl Reading<'_> {
    /// Debian keeps `export APACHE_LOG_DIR=/var/log/apache2$SUFFIX` there; the suffix is empty for the main server.
    fn environment(&mut self, text: &str) {
        for line in text.lines() {
            let Some((name, value)) = line.trim().strip_prefix("export ").and_then(|line| line.split_once('=')) else {
                continue;
            };
            let value = value.replace("${SUFFIX}", "").replace("$SUFFIX", "");
            self.names.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
        }
    }

    fn file(&mut self, path: &Path, level: usize) {
        if self.tree.files.len() >= MOST_FILES || level > MOST_LEVELS {
            return self.tree.faults.push(format!("{}: too many includes", path.display()));
        }
        self.tree.files.push(path.to_owned());
        let text = match self.files.read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(why) => return self.tree.faults.push(format!("{}: {why}", path.display())),
        };
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let mut line = line.to_owned();
            while line.ends_with('\\')
                && let Some((_, more)) = lines.next()
            {
                line.pop();
                line.push_str(more);
            }
            self.line(line.trim(), format!("{}:{}", path.display(), at + 1), level);
        }
    }

    fn line(&mut self, line: &str, source: String, level: usize) {
        self.count += 1;
        if line.is_empty() || line.starts_with('#') || self.count > MOST_DIRECTIVES {
            return;
        }
        let line = self.filled(line);
        if let Some(closing) = line.strip_prefix("</") {
            let name = closing.trim_end_matches('>').trim().to_ascii_lowercase();
            if self.sections.len() > 1 && self.sections.last().is_some_and(|section| section.is(&name)) {
                self.close();
            } else {
                self.tree.faults.push(format!("{source}: </{name}> closes nothing"));
            }
            return;
        }
        if let Some(opening) = line.strip_prefix('<').and_then(|line| line.strip_suffix('>')) {
            let mut words = words(opening).into_iter();
            let name = words.next().unwrap_or_default().to_ascii_lowercase();
            if self.sections.len() <= MOST_LEVELS {
                self.sections.push(Directive { name, args: words.collect(), inner: Vec::new(), source });
            }
            return;
        }
        let mut words = words(&line).into_iter();
        let name = words.next().unwrap_or_default().to_ascii_lowercase();
        self.directive(Directive { name, args: words.collect(), inner: Vec::new(), source }, level);
    }

    fn directive(&mut self, directive: Directive, level: usize) {
        let first = directive.args.first().cloned().unwrap_or_default();
        match directive.name.as_str() {
            "include" | "includeoptional" => self.include(&first, directive.is("include"), &directive.source, level),
            "define" if !self.is_skipped() => {
                self.names.insert(first, directive.args.get(1).cloned().unwrap_or_default());
            }
            "undefine" if !self.is_skipped() => drop(self.names.remove(&first)),
            "serverroot" => {
                self.root = PathBuf::from(&first);
                self.keep(directive);
            }
            _ => self.keep(directive),
        }
    }

    fn keep(&mut self, directive: Directive) {
        if let Some(section) = self.sections.last_mut() {
            section.inner.push(directive);
        }
    }

    fn include(&mut self, pattern: &str, needed: bool, source: &str, level: usize) {
        let path = self.root.join(pattern);
        let is_pattern = pattern.contains(['*', '?', '[']);
        let mut found = if is_pattern { self.files.glob(&path) } else { vec![path.clone()] };
        // A folder stands for all files in it.
        let within = self.files.glob(&path.join("*"));
        if !is_pattern && !within.is_empty() {
            found = within;
        }
        if !needed && !is_pattern && self.files.read(&path).is_err() && found.len() == 1 {
            return;
        }
        if found.is_empty() && needed {
            self.tree.faults.push(format!("{source}: no file fits {pattern}"));
        }
        found.iter().for_each(|file| self.file(file, level + 1));
    }

    /// Ends the innermost section: one that only asks a question gives its content to the section around it.
    fn close(&mut self) {
        let Some(section) = self.sections.pop() else { return };
        match section.name.as_str() {
            "ifmodule" | "ifversion" | "ifdirective" | "iffile" | "ifsection" => {
                section.inner.into_iter().for_each(|directive| self.keep(directive));
            }
            "ifdefine" => {
                if self.is_true(&section) {
                    section.inner.into_iter().for_each(|directive| self.keep(directive));
                }
            }
            _ => self.keep(section),
        }
    }

    fn is_true(&self, section: &Directive) -> bool {
        let name = section.args.first().map_or("", String::as_str);
        match name.strip_prefix('!') {
            Some(name) => !self.names.contains_key(name),
            None => self.names.contains_key(name),
        }
    }

    fn is_skipped(&self) -> bool {
        self.sections.iter().any(|section| section.is("ifdefine") && !self.is_true(section))
    }

    /// A line with what is known put in for `${NAME}`.
    fn filled(&self, line: &str) -> String {
        let mut filled = String::with_capacity(line.len());
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let known = after.split_once('}').and_then(|(name, after)| Some((self.names.get(name)?, after)));
            match known {
                Some((value, after)) => {
                    filled.push_str(value);
                    rest = after;
                }
                None => {
                    filled.push_str("${");
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// Blanks part words; quotes of either kind keep blanks, and a backslash within them keeps a quote.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_whitespace() {
            continue;
        }
        let mut word = String::new();
        if matches!(letter, '"' | '\'') {
            while let Some(inner) = letters.next() {
                match inner {
                    _ if inner == letter => break,
                    '\\' if letters.peek() == Some(&letter) || letters.peek() == Some(&'\\') => {
                        word.extend(letters.next())
                    }
                    _ => word.push(inner),
                }
            }
        } else {
            word.push(letter);
            while let Some(more) = letters.next_if(|more| !more.is_whitespace()) {
                word.push(more);
            }
        }
        words.push(word);
    }
    words
}
