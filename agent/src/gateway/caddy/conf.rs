//! Caddy's configuration, as a Caddyfile or as JSON: each reverse proxy with its upstreams, time limits and active check. The
//! Caddyfile is read as far as that needs: words, quotes, blocks and imports. Where the log names no upstream, these are the
//! candidates.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::go_duration::parse as duration;
use super::super::json::{self, Object, Value};
use crate::gateway::{Check, Configuration, Files, LogSetting, Member, Pool, Tls};

/// Words of all files together, and how deep imports and JSON are followed.
const MOST_WORDS: usize = 500_000;
const MOST_LEVELS: usize = 16;

/// Reads a configuration file of either kind.
pub(in crate::gateway) fn configuration(path: &Path, files: &dyn Files) -> Configuration {
    let mut configuration = Configuration::default();
    let text = match files.read(path) {
        Ok(text) => text,
        Err(why) => {
            configuration.files.push(path.to_path_buf());
            configuration.faults.push(format!("{}: {why}", path.display()));
            return configuration;
        }
    };
    if text.trim_ascii_start().first() == Some(&b'{')
        && let Ok(object) = json::object(&text)
    {
        configuration.files.push(path.to_path_buf());
        of_object(&object, &path.display().to_string(), 0, &mut configuration);
        return configuration;
    }
    let mut words = Vec::new();
    read_words(path, files, 0, &mut words, &mut configuration);
    of_words(&words, &mut configuration);
    configuration
}

/// One word of a Caddyfile and where it stands.
struct Word {
    text: String,
    source: String,
    /// It begins a line.
    first: bool,
}

/// The words of a file, those of the files that it imports in place. Braces that open and close blocks are words.
fn read_words(path: &Path, files: &dyn Files, level: usize, words: &mut Vec<Word>, configuration: &mut Configuration) {
    configuration.files.push(path.to_path_buf());
    let text = match files.read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(why) => return configuration.faults.push(format!("{}: {why}", path.display())),
    };
    for (at, line) in text.lines().enumerate() {
        let source = format!("{}:{}", path.display(), at + 1);
        let found = split(line);
        if let [import, pattern, ..] = found.as_slice()
            && import == "import"
            && level < MOST_LEVELS
        {
            // A snippet's name is no file.
            let base = path.parent().unwrap_or(Path::new("/"));
            for inner in files.glob(&base.join(pattern)) {
                read_words(&inner, files, level + 1, words, configuration);
            }
            continue;
        }
        if words.len() + found.len() > MOST_WORDS {
            return configuration.faults.push(format!("{source}: too much to read"));
        }
        words.extend(found.into_iter().enumerate().map(|(place, text)| Word {
            text,
            source: source.clone(),
            first: place == 0,
        }));
    }
}

/// Blanks part words; quotes and backticks keep blanks; `#` at the start of a word begins a comment.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            break;
        }
        let quoted =
            matches!(first, '"' | '`').then(|| rest.get(1..).and_then(|inner| inner.split_once(first))).flatten();
        let (word, after) = quoted.unwrap_or_else(|| rest.split_once(char::is_whitespace).unwrap_or((rest, "")));
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

fn of_words(words: &[Word], configuration: &mut Configuration) {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if !word.first || !matches!(word.text.as_str(), "reverse_proxy" | "php_fastcgi") {
            at += 1;
            continue;
        }
        let mut pool = empty_pool(word.source.clone(), if word.text == "php_fastcgi" { "fastcgi" } else { "http" });
        at += 1;
        while let Some(upstream) = words.get(at).filter(|word| !word.first && word.text != "{") {
            add_upstream(&mut pool, &upstream.text);
            at += 1;
        }
        if words.get(at).is_some_and(|word| !word.first && word.text == "{") {
            at = block(words, at + 1, &mut pool);
        }
        keep(pool, configuration);
    }
}

/// The lines of one proxy's block, those of inner blocks (`transport http { ... }`) too. Gives the place behind it.
fn block(words: &[Word], from: usize, pool: &mut Pool) -> usize {
    let (mut depth, mut at) = (1_usize, from);
    while let Some(word) = words.get(at) {
        at += 1;
        match word.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if word.first => {
                let values: Vec<&str> = words
                    .iter()
                    .skip(at)
                    .take_while(|word| !word.first && word.text != "{")
                    .map(|word| word.text.as_str())
                    .collect();
                directive(pool, &word.text, &values);
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn directive(pool: &mut Pool, name: &str, values: &[&str]) {
    let value = values.first().copied().unwrap_or("");
    let check = |pool: &mut Pool| pool.check.get_or_insert_with(usual_check).clone();
    match name {
        "to" => values.iter().for_each(|upstream| add_upstream(pool, upstream)),
        "health_uri" | "health_path" => pool.check = Some(Check { path: value.to_owned(), ..check(pool) }),
        "health_interval" => pool.check = Some(Check { interval: duration(value), ..check(pool) }),
        "health_timeout" => pool.check = Some(Check { timeout: duration(value), ..check(pool) }),
        "health_status" => pool.check = Some(Check { expects: value.to_owned(), ..check(pool) }),
        "health_fails" => pool.check = Some(Check { fall: value.parse().ok(), ..check(pool) }),
        "health_passes" => pool.check = Some(Check { rise: value.parse().ok(), ..check(pool) }),
        "health_port" => with_check_port(pool, value),
        "dial_timeout" => pool.connect_timeout = duration(value),
        "response_header_timeout" | "read_timeout" => pool.read_timeout = duration(value),
        "write_timeout" => pool.send_timeout = duration(value),
        "keepalive" => pool.keepalive_idle = if value == "off" { Some(Duration::ZERO) } else { duration(value) },
        "transport" if value == "fastcgi" => "fastcgi".clone_into(&mut pool.scheme),
        "versions" if values.contains(&"h2c") => "h2c".clone_into(&mut pool.scheme),
        "tls" => with_tls(pool, |_| {}),
        "tls_insecure_skip_verify" => with_tls(pool, |tls| tls.verify = false),
        "tls_server_name" => with_tls(pool, |tls| tls.server_name = Some(value.to_owned())),
        "tls_trusted_ca_certs" => with_tls(pool, |tls| tls.ca_file = Some(PathBuf::from(value))),
        "fail_duration" => pool.members.iter_mut().for_each(|member| member.fail_timeout = duration(value)),
        "max_fails" => pool.members.iter_mut().for_each(|member| member.max_fails = value.parse().ok()),
        _ => {}
    }
}

/// What the manual gives where nothing is said: dialling 3 s, idle connections 2 min, checks every 30 s with 5 s.
fn empty_pool(source: String, scheme: &str) -> Pool {
    Pool {
        scheme: scheme.to_owned(),
        connect_timeout: Some(Duration::from_secs(3)),
        keepalive_idle: Some(Duration::from_secs(120)),
        source,
        ..Pool::default()
    }
}

fn usual_check() -> Check {
    Check {
        kind: "http".to_owned(),
        interval: Some(Duration::from_secs(30)),
        timeout: Some(Duration::from_secs(5)),
        fall: Some(1),
        rise: Some(1),
        ..Check::default()
    }
}

fn with_tls(pool: &mut Pool, change: impl FnOnce(&mut Tls)) {
    "https".clone_into(&mut pool.scheme);
    change(pool.tls.get_or_insert_with(|| Tls { verify: true, ..Tls::default() }));
}

fn with_check_port(pool: &mut Pool, port: &str) {
    for member in &mut pool.members {
        member.check_address = member.address.rsplit_once(':').map(|(ip, _)| format!("{ip}:{port}"));
    }
}

/// `10.0.0.1:80`, `https://a:443`, `unix//run/a.sock`; a path before them chooses requests and is none.
fn add_upstream(pool: &mut Pool, text: &str) {
    if text.starts_with(['/', '@', '*']) {
        return;
    }
    let (scheme, address) = text.split_once("://").unwrap_or(("", text));
    match scheme {
        "https" => with_tls(pool, |_| {}),
        "h2c" => "h2c".clone_into(&mut pool.scheme),
        _ => {}
    }
    let address = match address.strip_prefix("unix/") {
        Some(path) => format!("unix:{path}"),
        None if address.starts_with(':') => format!("localhost{address}"),
        None if address.contains(':') => address.to_owned(),
        None if scheme == "https" => format!("{address}:443"),
        None => format!("{address}:80"),
    };
    pool.members.push(Member { address, ..Member::default() });
}

fn keep(mut pool: Pool, configuration: &mut Configuration) {
    if pool.members.is_empty() {
        return;
    }
    pool.name = pool.members.first().map_or_else(String::new, |member| member.address.clone());
    configuration.pools.push(pool);
}

/// Looks through JSON for handlers called `reverse_proxy`, and for the files that logs go to.
fn of_object(object: &Object, source: &str, level: usize, configuration: &mut Configuration) {
    if level > MOST_LEVELS * 2 {
        return;
    }
    if object.text("handler") == Some("reverse_proxy") {
        keep(handler(object, source), configuration);
    }
    if object.text("output") == Some("file") {
        let target = object.text("filename").map(str::to_owned);
        configuration.logs.push(LogSetting { target, ..LogSetting::default() });
    }
    for (_, value) in &object.0 {
        of_value(value, source, level + 1, configuration);
    }
}

fn of_value(value: &Value, source: &str, level: usize, configuration: &mut Configuration) {
    match value {
        Value::Object(inner) => of_object(inner, source, level, configuration),
        Value::List(items) => items.iter().for_each(|item| of_value(item, source, level, configuration)),
        _ => {}
    }
}

fn handler(object: &Object, source: &str) -> Pool {
    let mut pool = empty_pool(source.to_owned(), "http");
    if let Some(Value::List(upstreams)) = object.get("upstreams") {
        let dials = upstreams.iter().filter_map(Value::object).filter_map(|upstream| upstream.text("dial"));
        dials.for_each(|dial| add_upstream(&mut pool, dial));
    }
    if let Some(transport) = object.get("transport").and_then(Value::object) {
        for (name, value) in &transport.0 {
            directive(&mut pool, name, &[value.text().map_or_else(String::new, time_text).as_str()]);
        }
        if let Some(tls) = transport.get("tls").and_then(Value::object) {
            with_tls(&mut pool, |made| {
                made.verify = tls.text("insecure_skip_verify") != Some("true");
                made.server_name = tls.text("server_name").map(str::to_owned);
            });
        }
        if transport.text("protocol") == Some("fastcgi") {
            "fastcgi".clone_into(&mut pool.scheme);
        }
    }
    if let Some(active) =
        object.get("health_checks").and_then(Value::object).and_then(|checks| checks.get("active")?.object())
    {
        for (name, value) in &active.0 {
            let name = if name == "expect_status" { "status" } else { name };
            directive(
                &mut pool,
                &format!("health_{name}"),
                &[value.text().map_or_else(String::new, time_text).as_str()],
            );
        }
    }
    pool
}

/// JSON writes times as nanoseconds too; any other text stays as it is.
fn time_text(text: &str) -> String {
    if text.len() > 6 && text.bytes().all(|byte| byte.is_ascii_digit()) { format!("{text}ns") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str);

    impl Files for One {
        fn read(&self, _: &Path) -> Result<Vec<u8>, String> {
            Ok(self.0.as_bytes().to_vec())
        }

        fn glob(&self, _: &Path) -> Vec<PathBuf> {
            Vec::new()
        }
    }

    fn read(text: &'static str) -> Configuration {
        configuration(Path::new("/etc/caddy/Caddyfile"), &One(text))
    }

    fn addresses(pool: &Pool) -> Vec<&str> {
        pool.members.iter().map(|member| member.address.as_str()).collect()
    }

    #[test]
    fn a_caddyfile_tells_its_proxies() {
        let configuration = read(
            "app.example.com {\n  reverse_proxy /api/* 10.0.0.1:8080 https://b.example.com {\n    health_uri /ready # why\n    \
             health_interval 10s\n    transport http {\n      dial_timeout 1m30s\n      tls_insecure_skip_verify\n    }\n  }\n  \
             php_fastcgi unix//run/php.sock\n  respond \"reverse_proxy 10.9.9.9:1\"\n}\n",
        );
        assert_eq!(configuration.pools.len(), 2);
        let pool = &configuration.pools[0];
        assert_eq!(addresses(pool), ["10.0.0.1:8080", "b.example.com:443"]);
        assert_eq!((pool.scheme.as_str(), pool.tls.as_ref().map(|tls| tls.verify)), ("https", Some(false)));
        assert_eq!(pool.connect_timeout, Some(Duration::from_secs(90)));
        let check = pool.check.as_ref().unwrap();
        assert_eq!((check.path.as_str(), check.interval), ("/ready", Some(Duration::from_secs(10))));
        assert_eq!(addresses(&configuration.pools[1]), ["unix:/run/php.sock"]);
        assert_eq!(pool.source, "/etc/caddy/Caddyfile:2");
    }

    #[test]
    fn json_tells_the_same() {
        let configuration = read(
            r#"{"apps":{"http":{"servers":{"srv0":{"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"10.0.0.1:8080"}],
            "transport":{"protocol":"http","dial_timeout":2000000000},"health_checks":{"active":{"uri":"/h","interval":"5s","expect_status":200}}}]}]}}}}}"#,
        );
        let pool = &configuration.pools[0];
        assert_eq!((addresses(pool), pool.connect_timeout), (vec!["10.0.0.1:8080"], Some(Duration::from_secs(2))));
        let check = pool.check.as_ref().unwrap();
        assert_eq!((check.path.as_str(), check.expects.as_str()), ("/h", "200"));
    }
}
