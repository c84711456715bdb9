//! Apache's `LogFormat` language (mod_log_config, mod_logio): `%>s`, `%{Referer}i`, `%!200,304{...}n` and so on become the
//! fields of a template. Varnish's NCSA log and Traefik's common log are written in the same manner and read by it too.

use super::super::template::{Shape, Template};

/// The formats that come with httpd, without what follows the answer's size: `common`, and with the virtual host before it.
pub(in crate::gateway) const COMMON: &str = "%h %l %u %t \"%r\" %>s %b";
/// `vhost_combined` and `vhost_common`.
pub(super) const VHOST: &str = "%v:%p %h %l %u %t \"%r\" %>s %O";

/// Translates a setting. Escapes are those of the configuration file: `\"`, `\t`, `\n`.
pub(in crate::gateway) fn parse(setting: &str) -> Template {
    let mut template = Template::default();
    let setting = unquote(setting.trim());
    let mut rest = setting;
    let mut before = '\0';
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or("");
        match letter {
            '%' => {
                rest = directive(&mut template, after, before == '"');
                before = '\0';
            }
            '\\' => {
                let escaped = after.chars().next().unwrap_or('\\');
                template.push_literal(match escaped {
                    't' => "\t",
                    'n' => "\n",
                    '"' => "\"",
                    _ => "\\",
                });
                before = escaped;
                rest = after.get(escaped.len_utf8()..).unwrap_or("");
            }
            _ => {
                template.push_literal(letter.encode_utf8(&mut [0; 4]));
                before = letter;
                rest = after;
            }
        }
    }
    template
}

/// The setting as the configuration file has it: in quotes, with the inner ones escaped, and perhaps a nickname behind.
fn unquote(setting: &str) -> &str {
    let Some(inner) = setting.strip_prefix('"') else { return setting };
    let mut escaped = false;
    for (at, letter) in inner.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // A bare quote that more of a format follows was no closing one.
            '"' if !inner.get(at + 1..).unwrap_or("").contains('%') => return inner.get(..at).unwrap_or(setting),
            '"' => return setting,
            _ => {}
        }
    }
    setting
}

/// Adds the directive at the front and gives back what follows it.
fn directive<'s>(template: &mut Template, text: &'s str, quoted: bool) -> &'s str {
    let mut rest =
        text.trim_start_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '<' | '>' | '!' | ','));
    let mut argument = "";
    if let Some((inner, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        (argument, rest) = (inner, after);
    }
    rest = rest.trim_start_matches(['<', '>']);
    let width = if rest.starts_with('^') { 3 } else { rest.chars().next().map_or(0, char::len_utf8) };
    let (letter, rest) = rest.split_at_checked(width).unwrap_or((rest, ""));
    if letter == "%" {
        template.push_literal("%");
        return rest;
    }
    let (name, shape) = field(letter, &argument.to_ascii_lowercase());
    if letter == "t" && argument.is_empty() {
        template.push_literal("[");
        template.push_field("t", Shape::Date);
        template.push_literal("]");
        return rest;
    }
    template.push_field(&name, if quoted { Shape::Escaped } else { shape });
    rest
}

fn field(letter: &str, argument: &str) -> (String, Shape) {
    let named = |shape| (letter.to_owned(), shape);
    let with_argument = |shape| (format!("{letter}:{argument}"), shape);
    match letter {
        "a" | "h" if argument == "c" => ("peer".to_owned(), Shape::Word),
        // The name that identd told, which nothing is made of.
        "l" => ("-".to_owned(), Shape::Word),
        "A" | "a" | "h" | "v" | "L" | "H" | "m" | "X" | "R" => named(Shape::Word),
        "p" if argument.is_empty() => named(Shape::Number),
        "p" | "T" => with_argument(Shape::Number),
        "b" | "B" | "D" | "I" | "O" | "S" | "k" | "P" | "s" => named(Shape::Number),
        "t" => (format!("t:{argument}"), Shape::Own),
        "i" | "o" | "e" | "n" | "C" | "x" | "c" | "^ti" | "^to" => with_argument(Shape::Text),
        _ => named(Shape::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_clients_may_come_first() {
        let template = parse(r#"%{X-Forwarded-For}i %l %u %t "%r" %>s %b"#);
        for clients in ["-", "192.0.2.7", "192.0.2.7, 198.51.100.7"] {
            let line = format!(r#"{clients} - - [24/Jun/2024:10:10:10 +0000] "GET / HTTP/1.1" 503 299"#);
            assert_eq!(template.read(line.as_bytes()).unwrap().get("s"), Some(&b"503"[..]), "{clients}");
        }
    }

    #[test]
    fn a_setting_may_come_as_the_configuration_file_has_it() {
        let line = br#"198.51.100.7 - a b [22/Nov/2026:06:57:57 +0000] "GET /\" 502 x HTTP/1.1" 500 - 1176 err="a\"b" RCBE/9f18fU"#;
        for setting in [
            r#"%h %l %u %t "%r" %>s %b %D err="%{error-notes}n" %L"#,
            r#""%h %l %u %t \"%r\" %>s %b %D err=\"%{error-notes}n\" %L" joined"#,
        ] {
            let template = parse(setting);
            let fields = template.read(line).unwrap();
            assert_eq!(fields.get("s"), Some(&b"500"[..]), "{setting}");
            assert_eq!(fields.get("n:error-notes"), Some(&br#"a\"b"#[..]), "{setting}");
            assert_eq!(fields.get("L"), Some(&b"RCBE/9f18fU"[..]), "{setting}");
        }
    }
}
