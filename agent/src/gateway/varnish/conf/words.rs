//! The words of a VCL: names, numbers and strings of each kind of quote, without comments.

/// Words of one file that are read.
const MOST_WORDS: usize = 500_000;

/// Whether a word stood in quotes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Plain,
    Text,
}

/// One word and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub text: String,
    pub kind: Kind,
    /// `file:line`.
    pub source: String,
}

impl Word {
    /// Whether this is the plain word.
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind == Kind::Plain && self.text == text
    }
}

/// Splits a text into its words. What does not close ends with the file.
pub(super) fn words(text: &str, file: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, word, after) = match next(rest, first) {
            Next::Skip(after) => {
                line += lines(rest, after);
                rest = after;
                continue;
            }
            Next::Word(kind, word, after) => (kind, word, after),
        };
        if words.len() >= MOST_WORDS {
            break;
        }
        words.push(Word { text: word.to_owned(), kind, source: format!("{file}:{line}") });
        line += lines(rest, after);
        rest = after;
    }
    words
}

fn lines(before: &str, after: &str) -> usize {
    before[..before.len() - after.len()].matches('\n').count()
}

enum Next<'t> {
    /// A blank or a comment.
    Skip(&'t str),
    Word(Kind, &'t str, &'t str),
}

fn next(rest: &str, first: char) -> Next<'_> {
    let ends = |rest: &'_ str, end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
    if first.is_whitespace() {
        return Next::Skip(rest.trim_start());
    }
    if first == '#' || rest.starts_with("//") {
        return Next::Skip(&rest[ends(rest, "\n")..]);
    }
    if rest.starts_with("/*") {
        return Next::Skip(&rest[ends(rest, "*/")..]);
    }
    // Long strings first: they begin with what opens a short one or a block.
    for (open, close) in [("{\"", "\"}"), ("\"\"\"", "\"\"\""), ("\"", "\"")] {
        if let Some(inner) = rest.strip_prefix(open) {
            let (word, after) = inner.split_once(close).unwrap_or((inner, ""));
            return Next::Word(Kind::Text, word, after);
        }
    }
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-' | ':');
    let end = rest.find(|letter: char| !is_name(letter)).unwrap_or(rest.len());
    let end = if end == 0 { first.len_utf8() } else { end };
    Next::Word(Kind::Plain, &rest[..end], &rest[end..])
}
