//! The text of an nginx configuration as a tree of directives, includes put in their places. Written after nginx's own
//! tokenizer (`ngx_conf_read_token`): words, two kinds of quotes, comments, blocks.

use std::path::{Path, PathBuf};

use crate::gateway::Files;

/// Blocks within blocks that are followed.
const MOST_LEVELS: usize = 32;
/// Files that are read for one configuration.
const MOST_FILES: usize = 2_000;
/// Directives that are kept of one configuration.
const MOST_DIRECTIVES: usize = 500_000;

/// One directive.
#[derive(Debug, Clone, Default)]
pub(super) struct Directive {
    pub name: String,
    pub args: Vec<String>,
    pub block: Vec<Directive>,
    /// `file:line`.
    pub source: String,
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
    let mut reading = Reading { files, root: path.parent().unwrap_or(Path::new("/")), tree: Tree::default(), count: 0 };
    reading.tree.directives = reading.file(path, 0);
    reading.tree
}

/// The words of the first statement of a text.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut lexer = Lexer { text: text.as_bytes(), at: 0, line: 1 };
    lexer.statement().map(|statement| statement.words).unwrap_or_default()
}

struct Reading<'f> {
    files: &'f dyn Files,
    /// What relative includes are relative to.
    root: &'f Path,
    tree: Tree,
    count: usize,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path, level: usize) -> Vec<Directive> {
        if self.tree.files.len() >= MOST_FILES || level > MOST_LEVELS {
            self.tree.faults.push(format!("{}: too many includes", path.display()));
            return Vec::new();
        }
        self.tree.files.push(path.to_owned());
        let text = match self.files.read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(why) => {
                self.tree.faults.push(format!("{}: {why}", path.display()));
                return Vec::new();
            }
        };
        let mut lexer = Lexer { text: text.as_bytes(), at: 0, line: 1 };
        let directives = self.block(&mut lexer, path, level);
        if lexer.at < lexer.text.len() {
            self.tree.faults.push(format!("{}:{}: a \"}}\" without its block", path.display(), lexer.line));
        }
        directives
    }

    /// Directives up to the block's or the file's end.
    fn block(&mut self, lexer: &mut Lexer<'_>, path: &Path, level: usize) -> Vec<Directive> {
        let mut directives = Vec::new();
        while let Some(statement) = lexer.statement() {
            self.count += 1;
            let source = format!("{}:{}", path.display(), statement.line);
            if level > MOST_LEVELS || self.count > MOST_DIRECTIVES {
                self.tree.faults.push(format!("{source}: more than can be read"));
                lexer.at = lexer.text.len();
                break;
            }
            let mut words = statement.words.into_iter();
            let Some(name) = words.next() else { continue };
            let args: Vec<String> = words.collect();
            if name == "include" && !statement.opens {
                directives.extend(self.include(args.first().map_or("", String::as_str), &source, level));
                continue;
            }
            let code = name.ends_with("_by_lua_block");
            let block = match (statement.opens, code) {
                (true, true) => {
                    lexer.skip_code();
                    Vec::new()
                }
                (true, false) => {
                    let block = self.block(lexer, path, level + 1);
                    if !lexer.close() {
                        self.tree.faults.push(format!("{source}: the block is not closed"));
                    }
                    block
                }
                (false, _) => Vec::new(),
            };
            directives.push(Directive { name, args, block, source });
        }
        directives
    }

    fn include(&mut self, pattern: &str, source: &str, level: usize) -> Vec<Directive> {
        let pattern = self.root.join(pattern);
        let is_glob = pattern.to_string_lossy().contains(['*', '?', '[']);
        let paths = if is_glob { self.files.glob(&pattern) } else { vec![pattern.clone()] };
        if paths.len() > MOST_FILES {
            self.tree.faults.push(format!("{source}: {} names too many files", pattern.display()));
        }
        paths.iter().take(MOST_FILES).flat_map(|path| self.file(path, level + 1)).collect()
    }
}

/// Words up to `;` or `{`.
struct Statement {
    words: Vec<String>,
    line: usize,
    opens: bool,
}

struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn advance(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    /// The next statement; None at `}` and at the end.
    fn statement(&mut self) -> Option<Statement> {
        let mut statement = Statement { words: Vec::new(), line: 0, opens: false };
        loop {
            self.blanks();
            match self.peek() {
                None | Some(b'}') => return (!statement.words.is_empty()).then_some(statement),
                Some(b';') => {
                    self.advance();
                    if !statement.words.is_empty() {
                        return Some(statement);
                    }
                }
                Some(b'{') => {
                    self.advance();
                    statement.opens = true;
                    return Some(statement);
                }
                Some(_) => {
                    if statement.words.is_empty() {
                        statement.line = self.line;
                    }
                    let word = self.word();
                    statement.words.push(word);
                }
            }
        }
    }

    fn blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                byte if byte.is_ascii_whitespace() => self.advance(),
                _ => return,
            }
        }
    }

    fn word(&mut self) -> String {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\''));
        if quote.is_some() {
            self.advance();
        }
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            match (quote, byte) {
                (Some(quote), byte) if byte == quote => {
                    self.advance();
                    break;
                }
                (None, b';' | b'{') if byte == b';' || word.last() != Some(&b'$') => break,
                (None, byte) if byte.is_ascii_whitespace() => break,
                (_, b'\\') => {
                    self.advance();
                    self.escaped(&mut word);
                }
                _ => {
                    word.push(byte);
                    self.advance();
                }
            }
        }
        String::from_utf8_lossy(&word).into_owned()
    }

    /// What a backslash stands before: nginx undoes the escapes of quotes, blanks and itself, and keeps all others.
    fn escaped(&mut self, word: &mut Vec<u8>) {
        let Some(byte) = self.peek() else { return word.push(b'\\') };
        match byte {
            b'"' | b'\'' | b'\\' => word.push(byte),
            b't' => word.push(b'\t'),
            b'r' => word.push(b'\r'),
            b'n' => word.push(b'\n'),
            _ => word.extend([b'\\', byte]),
        }
        self.advance();
    }

    fn close(&mut self) -> bool {
        let closes = self.peek() == Some(b'}');
        if closes {
            self.advance();
        }
        closes
    }

    /// Passes over the code of a Lua block: its braces pair, save within strings and comments.
    fn skip_code(&mut self) {
        let mut open = 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' => open += 1,
                b'}' => open -= 1,
                b'"' | b'\'' => {
                    self.advance();
                    while self.peek().is_some_and(|other| other != byte && other != b'\n') {
                        if self.peek() == Some(b'\\') {
                            self.advance();
                        }
                        self.advance();
                    }
                }
                b'-' if self.text[self.at..].starts_with(b"--") => {
                    while self.peek().is_some_and(|other| other != b'\n') {
                        self.at += 1;
                    }
                }
                _ => {}
            }
            self.advance();
            if open == 0 {
                return;
            }
        }
        self.at = self.text.len();
    }
}
