//! HAProxy's `log-format` language (configuration manual 8.2): `%var`, `%{flags}var`, `%(name)var`, `%[expression]`,
//! `%%`, blanks that the configuration file writes as `\ `, and the formats of `option httplog` and its kin as the manual spells them.

use super::super::template::{Shape, Template};

/// `option httplog`.
pub(super) const HTTP: &str =
    "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";
/// `option tcplog`.
pub(super) const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";
/// `option httplog clf` as far as the state; what follows counts connections.
pub(super) const CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc";
/// HAProxy 1.5 to 1.7 wrote other timers in the same places.
pub(super) const OLD_HTTP: &str =
    "%ci:%cp [%t] %ft %b/%s %Tq/%Tw/%Tc/%Tr/%Tt %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";

/// What the formats above and those that people derive from them have in common, from the date to the state: enough for
/// lines that were cut, whose client was blotted out, or that go on in another way. Cookies are words here (`+X`), so that
/// there is one way to read a line.
pub(super) const COMMON: [&str; 3] = [
    "[%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %{+X}CC %{+X}CS %tsc",
    "[%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc",
    "[%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts",
];

/// A format, ready to read lines with.
#[derive(Debug)]
pub(super) enum Format {
    /// Text with fields in it.
    Text(Template),
    /// `%{+json}o`: an object; each key with the variable it holds.
    Json(Vec<(String, String)>),
}

/// What `option httpslog` has behind that of `option httplog`.
const TLS: &str =
    " %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc";

/// A setting with the variables of HAProxy's own environment that stand for the formats that it ships, as since 2.8.
pub(super) fn expanded(setting: &str) -> String {
    setting
        .replace("${HAPROXY_HTTPS_LOG_FMT}", &[HTTP, TLS].concat())
        .replace("${HAPROXY_HTTP_LOG_FMT}", HTTP)
        .replace("${HAPROXY_HTTP_CLF_LOG_FMT}", CLF)
        .replace("${HAPROXY_TCP_LOG_FMT}", TCP)
}

/// Translates a `log-format` setting. What it does not know it takes for text that a client chose.
pub(super) fn parse(setting: &str) -> Format {
    let setting = expanded(setting);
    let mut cursor = Cursor {
        rest: unquote(setting.trim()),
        quoting: false,
        json: false,
        template: Template::default(),
        keys: Vec::new(),
    };
    while !cursor.rest.is_empty() {
        cursor.piece();
    }
    if cursor.json { Format::Json(cursor.keys) } else { Format::Text(cursor.template) }
}

/// The setting may come with the quotes it has in the configuration file.
fn unquote(setting: &str) -> &str {
    let bare = |quote: char| setting.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    // A format that itself begins and ends with a quoted variable is no quoted format.
    bare('\'')
        .or_else(|| bare('"').filter(|inner| inner.starts_with(['%', '{', '[', '\\', '$']) && !inner.contains("\" ")))
        .unwrap_or(setting)
}

struct Cursor<'s> {
    rest: &'s str,
    /// `%{+Q}o` holds for all that follows.
    quoting: bool,
    json: bool,
    template: Template,
    keys: Vec<(String, String)>,
}

impl<'s> Cursor<'s> {
    fn take(&mut self, bytes: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn piece(&mut self) {
        if let Some(rest) = self.rest.strip_prefix("%%") {
            self.rest = rest;
            self.template.push_literal("%");
        } else if self.rest.starts_with('%') {
            self.take(1);
            self.variable();
        } else if self.rest.starts_with('\\') && self.rest.len() > 1 {
            self.take(1);
            let width = self.rest.chars().next().map_or(1, char::len_utf8);
            let literal = self.take(width);
            self.template.push_literal(literal);
        } else {
            let end = self.rest.find(['%', '\\']).filter(|end| *end > 0).unwrap_or(self.rest.len());
            let literal = self.take(end);
            self.template.push_literal(literal);
        }
    }

    /// What stands in brackets at the front, if anything.
    fn bracketed(&mut self, open: char, close: char) -> Option<&'s str> {
        let inner = self.rest.strip_prefix(open)?;
        let mut depth = 1_usize;
        for (at, letter) in inner.char_indices() {
            depth = match letter {
                _ if letter == open => depth + 1,
                _ if letter == close => depth - 1,
                _ => depth,
            };
            if depth == 0 {
                self.rest = inner.get(at + close.len_utf8()..).unwrap_or("");
                return inner.get(..at);
            }
        }
        None
    }

    fn variable(&mut self) {
        let mut key = self.bracketed('(', ')').map(named);
        let flags = self.bracketed('{', '}').unwrap_or("");
        if key.is_none() {
            key = self.bracketed('(', ')').map(named);
        }
        let name = match self.bracketed('[', ']') {
            Some(expression) => format!("[{expression}]"),
            None => self.name().to_owned(),
        };
        if name == "o" {
            self.quoting = flags.contains("+Q") || self.quoting && !flags.contains("-Q");
            self.json |= flags.contains("+json");
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            return;
        }
        self.keys.push((key.unwrap_or(&name).to_owned(), name.clone()));
        self.field(&name, flags);
    }

    /// The longest variable name that the manual has at the front.
    fn name(&mut self) -> &'s str {
        let letters = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let known = (1..=letters.min(4))
            .rev()
            .find(|length| self.rest.get(..*length).is_some_and(|name| shape(name).is_some()));
        self.take(known.unwrap_or(letters))
    }

    fn field(&mut self, name: &str, flags: &str) {
        let mut shape = shape(name).unwrap_or(Shape::Text);
        let quoted = flags.contains("+Q") || self.quoting && !flags.contains("-Q");
        if quoted && shape == Shape::Text {
            self.template.push_literal("\"");
            self.template.push_field(name, shape);
            self.template.push_literal("\"");
            return;
        }
        if flags.contains("+X") || quoted && shape == Shape::Number {
            // Words come in quotes and numbers not always do; the quotes are taken off where the field is read.
            shape = Shape::Word;
        }
        self.template.push_field(name, shape);
    }
}

/// The name in `%(name:type)var`.
fn named(inner: &str) -> &str {
    inner.split(':').next().unwrap_or(inner)
}

/// What the text of a variable consists of. None: the manual has no such variable.
fn shape(name: &str) -> Option<Shape> {
    Some(match name {
        "B" | "U" | "ST" | "Ta" | "Tc" | "Td" | "Th" | "Ti" | "Tq" | "TR" | "Tr" | "Tt" | "Tu" | "Tw" | "ac" | "bc"
        | "bp" | "bq" | "cp" | "fc" | "fp" | "lc" | "ms" | "pid" | "rc" | "rt" | "sc" | "sp" | "sq" | "Ts" => {
            Shape::Number
        }
        "b" | "bi" | "ci" | "f" | "fi" | "ft" | "s" | "si" | "ts" | "tsc" | "sslc" | "sslv" | "H" => Shape::Word,
        "t" | "tr" | "T" | "Tl" | "trg" | "trl" => Shape::Own,
        "hr" | "hs" => Shape::Braces,
        "CC" | "CS" | "HM" | "HP" | "HPO" | "HQ" | "HU" | "HV" | "ID" | "hrl" | "hsl" | "r" | "o" | "OG" => Shape::Text,
        _ if name.starts_with("[bc_err_str") || name.starts_with("[fc_err_str") => Shape::Own,
        _ if name.starts_with("[bc_err") || name.starts_with("[fc_err") => Shape::Word,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'l>(format: &'l Format, line: &'l str, name: &str) -> Option<&'l str> {
        let Format::Text(template) = format else { return None };
        template
            .read(line.as_bytes())
            .ok()
            .and_then(|fields| fields.get(name))
            .and_then(|text| std::str::from_utf8(text).ok())
    }

    #[test]
    fn blanks_may_be_escaped_and_settings_quoted() {
        let escaped = parse("%ci:%cp\\ [%t]\\ %ST\\ %{+Q}r");
        let quoted = parse("\"%ci:%cp [%t] %ST %{+Q}r\"");
        let line = "::1:54494 [22/Nov/2026:06:43:09.058] 502 \"GET / HTTP/1.1\"";
        for format in [&escaped, &quoted] {
            assert_eq!(read(format, line, "ci"), Some("::1"));
            assert_eq!(read(format, line, "cp"), Some("54494"));
            assert_eq!(read(format, line, "ST"), Some("502"));
        }
    }

    #[test]
    fn the_formats_shipped_may_be_named() {
        let line = "192.0.2.7:1 [24/Jun/2024:10:10:10.001] fe be/s1 0/0/-1/-1/3 503 221 - - SC-- 1/1/0/0/3 0/0 \"GET / HTTP/1.1\" 34 \"SSL handshake failure\"";
        let format = parse(r#""${HAPROXY_HTTP_LOG_FMT} %[bc_err] \"%[bc_err_str]\"""#);
        assert_eq!(read(&format, line, "tsc"), Some("SC--"));
        assert_eq!(read(&format, line, "[bc_err_str]"), Some("SSL handshake failure"));
    }

    #[test]
    fn the_common_log_has_its_texts_in_quotes() {
        let line = "10.0.1.2 - - [06/Feb/2009:12:14:14 +0000] \"GET /x HTTP/1.1\" 502 204 \"\" \"\" 33317 655 \"http-in\" \"static\" \
                    \"srv1\" 10 0 30 -1 109 \"SH--\"";
        let format = parse(CLF);
        assert_eq!((read(&format, line, "ST"), read(&format, line, "tsc")), (Some("502"), Some("\"SH--\"")));
    }

    #[test]
    fn names_are_taken_as_long_as_the_manual_has_them() {
        let format = parse("%TR/%Tw/%T|%tsc%%");
        let Format::Text(template) = &format else { panic!("text") };
        assert_eq!(template.names().collect::<Vec<_>>(), ["TR", "Tw", "T", "tsc"]);
    }

    #[test]
    fn json_encoding_names_its_keys() {
        let Format::Json(keys) = parse("%{+json}o %(client_ip)ci %(status:sint)ST %(err)[bc_err_str]") else {
            panic!("json")
        };
        let pair = |key: &str, name: &str| (key.to_owned(), name.to_owned());
        assert_eq!(keys, [pair("client_ip", "ci"), pair("status", "ST"), pair("err", "[bc_err_str]")]);
    }
}
