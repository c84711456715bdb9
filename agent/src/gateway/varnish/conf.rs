//! Varnish's VCL: backends with their time limits and probes, and the directors that choose among them (manual of VCL
//! backends, probes and vmod_directors). Each backend is a pool of its own, since log lines name backends; a director is
//! one of all its backends.

mod words;

use std::path::Path;
use std::time::Duration;

use crate::gateway::{Check, Configuration, Files, Member, Pool, Tls};
use words::{Kind, Word};

/// What varnishd's parameters give where nothing is said.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_500);
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(60);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// `http_resp_size`.
const HEADER_LIMIT_BYTES: u64 = 32 * 1024;
/// Files that one VCL may include.
const MOST_FILES: usize = 256;

/// Reads a VCL and those that it includes.
pub(in crate::gateway) fn configuration(path: &Path, files: &dyn Files) -> Configuration {
    let mut configuration = Configuration::default();
    let mut words = Vec::new();
    read_words(path, path.parent().unwrap_or(Path::new("/")), files, &mut words, &mut configuration);
    let mut reading = Reading { words: &words, at: 0, backends: Vec::new(), probes: Vec::new(), directors: Vec::new() };
    reading.all();
    configuration.pools = reading.pools();
    configuration
}

fn read_words(path: &Path, root: &Path, files: &dyn Files, words: &mut Vec<Word>, configuration: &mut Configuration) {
    if configuration.files.len() >= MOST_FILES || configuration.files.iter().any(|known| known == path) {
        return configuration.faults.push(format!("{}: included again", path.display()));
    }
    configuration.files.push(path.to_path_buf());
    let text = match files.read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(why) => return configuration.faults.push(format!("{}: {why}", path.display())),
    };
    let mut found = words::words(&text, &path.display().to_string()).into_iter().peekable();
    while let Some(word) = found.next() {
        let included = found.next_if(|next| word.is("include") && next.kind == Kind::Text);
        let Some(included) = included else {
            words.push(word);
            continue;
        };
        // `./x` is beside this file, any other relative name in the folder of the first.
        let base = if included.text.starts_with("./") { path.parent().unwrap_or(root) } else { root };
        read_words(&base.join(included.text.trim_start_matches("./")), root, files, words, configuration);
    }
}

/// A backend as written; its probe may be named and stand elsewhere.
#[derive(Default)]
struct Backend {
    pool: Pool,
    host: String,
    port: String,
    max_connections: Option<u32>,
    probe: Option<String>,
}

struct Reading<'w> {
    words: &'w [Word],
    at: usize,
    backends: Vec<Backend>,
    probes: Vec<(String, Check)>,
    /// Name, where it stands, its backends.
    directors: Vec<(String, String, Vec<String>)>,
}

impl<'w> Reading<'w> {
    fn next(&mut self) -> Option<&'w Word> {
        let word = self.words.get(self.at);
        self.at += 1;
        word
    }

    fn peek(&self, ahead: usize) -> Option<&'w Word> {
        self.words.get(self.at + ahead)
    }

    fn all(&mut self) {
        while let Some(word) = self.next() {
            match (word.text.as_str(), self.peek(0), self.peek(1)) {
                ("backend", Some(name), Some(open)) if open.is("{") => {
                    self.at += 2;
                    let backend = self.backend(&name.text, &word.source);
                    self.backends.push(backend);
                }
                ("probe", Some(name), Some(open)) if open.is("{") => {
                    self.at += 2;
                    let check = self.probe();
                    self.probes.push((name.text.clone(), check));
                }
                ("new", Some(name), Some(is)) if is.is("=") => self.director(&name.text, &word.source),
                (name, Some(open), Some(member)) if open.is("(") => self.add_backend(name, &member.text),
                _ => {}
            }
        }
    }

    /// `new x = directors.round_robin();`
    fn director(&mut self, name: &str, source: &str) {
        if self.peek(2).is_some_and(|kind| kind.text.starts_with("directors.")) {
            self.directors.push((name.to_owned(), source.to_owned(), Vec::new()));
        }
    }

    /// `x.add_backend(name, 1.0)`
    fn add_backend(&mut self, call: &str, member: &str) {
        let name = call.strip_suffix(".add_backend");
        let director = name.and_then(|name| self.directors.iter_mut().find(|(known, _, _)| known == name));
        if let Some((_, _, members)) = director {
            members.push(member.to_owned());
        }
    }

    /// The settings `.name = value ...;` of a block up to its end, and for an inner block the name it stands under.
    fn settings(&mut self, mut take: impl FnMut(&mut Self, &str, &[&'w Word])) {
        while let Some(word) = self.next() {
            if word.is("}") {
                return;
            }
            let Some(name) = word.text.strip_prefix('.').filter(|_| word.kind == Kind::Plain) else { continue };
            if self.peek(0).is_some_and(|next| next.is("=")) {
                self.at += 1;
            }
            let mut values = Vec::new();
            while let Some(value) = self.peek(0).filter(|value| !value.is(";") && !value.is("{") && !value.is("}")) {
                values.push(value);
                self.at += 1;
            }
            if self.peek(0).is_some_and(|next| next.is("{") || next.is(";")) {
                self.at += 1;
            }
            take(self, name, &values);
        }
    }

    fn backend(&mut self, name: &str, source: &str) -> Backend {
        let mut backend = Backend { port: "80".to_owned(), ..Backend::default() };
        backend.pool = Pool {
            name: name.to_owned(),
            scheme: "http".to_owned(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(FIRST_BYTE_TIMEOUT),
            keepalive_idle: Some(IDLE_TIMEOUT),
            header_limit_bytes: Some(HEADER_LIMIT_BYTES),
            // A fetch is tried again only where the VCL says `return (retry)`.
            tries: Some(1),
            source: source.to_owned(),
            ..Pool::default()
        };
        self.settings(|reading, setting, values| {
            let value = values.first().map_or("", |value| value.text.as_str());
            match setting {
                "host" => value.clone_into(&mut backend.host),
                "port" => value.clone_into(&mut backend.port),
                "path" => backend.host = format!("unix:{value}"),
                "connect_timeout" => backend.pool.connect_timeout = duration(value),
                "first_byte_timeout" => backend.pool.read_timeout = duration(value),
                "max_connections" => backend.max_connections = value.parse().ok(),
                "probe" if values.is_empty() => backend.pool.check = Some(reading.probe()),
                "probe" => backend.probe = Some(value.to_owned()),
                // Of Varnish Enterprise.
                "ssl" if value == "1" => {
                    "https".clone_into(&mut backend.pool.scheme);
                    backend.pool.tls.get_or_insert_with(|| Tls { verify: true, ..Tls::default() });
                }
                _ => {}
            }
        });
        backend
    }

    fn probe(&mut self) -> Check {
        let mut check = Check {
            kind: "http".to_owned(),
            path: "/".to_owned(),
            interval: Some(Duration::from_secs(5)),
            timeout: Some(Duration::from_secs(2)),
            expects: "200".to_owned(),
            ..Check::default()
        };
        let (mut window, mut threshold) = (8_u32, 3_u32);
        self.settings(|_, setting, values| {
            let value = values.first().map_or("", |value| value.text.as_str());
            match setting {
                "url" => value.clone_into(&mut check.path),
                "interval" => check.interval = duration(value),
                "timeout" => check.timeout = duration(value),
                "window" => window = value.parse().unwrap_or(window),
                "threshold" => threshold = value.parse().unwrap_or(threshold),
                "expected_response" => value.clone_into(&mut check.expects),
                "request" => request(&mut check, values),
                _ => {}
            }
        });
        // Of the last `window` checks `threshold` must be good: so many bad ones in a row take a backend out, so many good ones
        // bring it back.
        check.fall = Some(window.saturating_sub(threshold) + 1);
        check.rise = Some(threshold);
        check
    }

    fn pools(self) -> Vec<Pool> {
        let Self { backends, probes, directors, .. } = self;
        let mut pools: Vec<Pool> = Vec::new();
        for backend in backends.into_iter().filter(|backend| !backend.host.is_empty()) {
            let Backend { mut pool, host, port, max_connections, probe } = backend;
            let address = match host.as_str() {
                socket if socket.starts_with("unix:") => host,
                ip if ip.contains(':') => format!("[{host}]:{port}"),
                _ => format!("{host}:{port}"),
            };
            let named = probe.and_then(|name| probes.iter().find(|(known, _)| *known == name));
            pool.check = pool.check.take().or_else(|| named.map(|(_, check)| check.clone()));
            pool.members = vec![Member { name: pool.name.clone(), address, max_connections, ..Member::default() }];
            pools.push(pool);
        }
        for (name, source, members) in directors {
            let members: Vec<Pool> = pools.iter().filter(|pool| members.contains(&pool.name)).cloned().collect();
            if let Some(first) = members.first().cloned() {
                let members = members.into_iter().flat_map(|pool| pool.members).collect();
                pools.push(Pool { name, source, members, ..first });
            }
        }
        pools
    }
}

/// `.request = "GET /health HTTP/1.1" "Host: app";`
fn request(check: &mut Check, lines: &[&Word]) {
    let path = lines.first().and_then(|line| line.text.split(' ').nth(1));
    path.unwrap_or("/").clone_into(&mut check.path);
    let host =
        lines.iter().filter_map(|line| line.text.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("host"));
    check.host = host.map(|(_, host)| host.trim().to_owned()).unwrap_or_default();
}

/// `1s`, `0.5s`, `100ms`, `2m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at_checked(digits)?;
    let each = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * each).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const FRONT: &str = include_str!("../../../fixtures/gateway/front.vcl");

    struct Both;

    impl Files for Both {
        fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
            match path.to_str() {
                Some("/etc/varnish/front.vcl") => Ok(FRONT.as_bytes().to_vec()),
                Some("/etc/varnish/spare.vcl") => Ok(b"backend spare { .host = \"10.0.0.9\"; }".to_vec()),
                _ => Err("no such file".to_owned()),
            }
        }

        fn glob(&self, _: &Path) -> Vec<PathBuf> {
            Vec::new()
        }
    }

    #[test]
    fn backends_and_directors_are_pools() {
        let configuration = configuration(Path::new("/etc/varnish/front.vcl"), &Both);
        let pools: Vec<_> = configuration
            .pools
            .iter()
            .map(|pool| {
                (pool.name.as_str(), pool.members.iter().map(|member| member.address.as_str()).collect::<Vec<_>>())
            })
            .collect();
        let expected = [
            ("spare", vec!["10.0.0.9:80"]),
            ("app1", vec!["10.0.0.2:8080"]),
            ("app2", vec!["[fd00::3]:8080"]),
            ("local", vec!["unix:/run/app.sock"]),
            ("pool", vec!["10.0.0.2:8080", "[fd00::3]:8080"]),
        ];
        assert_eq!(pools, expected);
        assert_eq!((configuration.files.len(), configuration.faults.len()), (2, 0));
    }

    #[test]
    fn limits_and_probes() {
        let configuration = configuration(Path::new("/etc/varnish/front.vcl"), &Both);
        let app = &configuration.pools[1];
        assert_eq!(
            (app.connect_timeout, app.read_timeout),
            (Some(Duration::from_millis(500)), Some(Duration::from_secs(90)))
        );
        assert_eq!((app.members[0].name.as_str(), app.members[0].max_connections), ("app1", Some(200)));
        let check = app.check.as_ref().unwrap();
        assert_eq!(
            (check.path.as_str(), check.host.as_str(), check.expects.as_str()),
            ("/health", "app.internal", "204")
        );
        assert_eq!((check.interval, check.timeout), (Some(Duration::from_secs(3)), Some(Duration::from_secs(1))));
        assert_eq!((check.fall, check.rise), (Some(3), Some(3)));
        let inline = configuration.pools[2].check.as_ref().unwrap();
        assert_eq!((inline.path.as_str(), inline.fall), ("/ping", Some(6)));
        assert_eq!(configuration.pools[3].check, None);
        assert_eq!(configuration.pools[4].source, "/etc/varnish/front.vcl:41");
    }
}
