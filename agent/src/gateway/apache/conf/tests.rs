use std::path::PathBuf;

use super::*;

/// Files by their paths; a pattern names all in its folder.
struct Few(&'static [(&'static str, &'static str)]);

impl Files for Few {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| format!("{}: no such file", path.display()))
    }

    fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        let names = self.0.iter().map(|(name, _)| PathBuf::from(name));
        names.filter(|name| name.parent() == pattern.parent()).collect()
    }
}

fn read(files: &'static [(&'static str, &'static str)]) -> Configuration {
    configuration(Path::new(files[0].0), &Few(files))
}

const FRONT: &str = include_str!("../../../../fixtures/gateway/apache2.conf");

fn front() -> Configuration {
    read(&[("/etc/apache2/apache2.conf", FRONT)])
}

fn pool<'c>(configuration: &'c Configuration, name: &str) -> &'c Pool {
    configuration.pools.iter().find(|pool| pool.name == name).unwrap()
}

#[test]
fn balancers_and_their_members() {
    let configuration = front();
    let api = pool(&configuration, "api");
    let members: Vec<_> =
        api.members.iter().map(|member| (member.address.as_str(), member.backup, member.down)).collect();
    let expected = [
        ("10.0.0.2:3000", false, false),
        ("10.0.0.3:3000", false, false),
        ("10.0.0.4:3000", true, false),
        ("10.0.0.5:3000", false, true),
    ];
    assert_eq!(members, expected);
    assert_eq!((api.members[0].name.as_str(), api.members[0].fail_timeout), ("a", Some(Duration::from_secs(5))));
    assert_eq!((api.members[1].fail_timeout, api.members[1].max_connections), (Some(RETRY_DEFAULT), Some(50)));
    assert_eq!((api.connect_timeout, api.read_timeout), (Some(Duration::from_secs(2)), Some(Duration::from_secs(30))));
    assert_eq!((api.tries, api.scheme.as_str()), (Some(3), "http"));
    let check = api.check.as_ref().unwrap();
    assert_eq!((check.path.as_str(), check.interval), ("/health", Some(Duration::from_secs(10))));
    assert_eq!((check.fall, check.rise), (Some(3), Some(2)));
}

const RETRY_DEFAULT: Duration = Duration::from_secs(60);

#[test]
fn what_is_passed_to_alone() {
    let configuration = front();
    let names: Vec<&str> = configuration.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["api", "app.internal:443", "10.0.0.9:8080", "unix:/run/php/fpm.sock", "10.0.0.7:9000"]);
    let secure = pool(&configuration, "app.internal:443");
    assert_eq!(secure.connect_timeout, Some(Duration::from_millis(500)));
    assert_eq!((secure.read_timeout, secure.keepalive_idle), (Some(Duration::from_secs(20)), Some(Duration::ZERO)));
    let tls = secure.tls.as_ref().unwrap();
    assert_eq!((tls.verify, tls.server_name.as_deref()), (true, Some("app.internal")));
    assert_eq!((tls.ca_file.as_deref(), tls.protocols.as_str()), (Some(Path::new("/etc/ssl/ca.pem")), "all -SSLv3"));
    assert_eq!(pool(&configuration, "unix:/run/php/fpm.sock").scheme, "fastcgi");
    assert_eq!((secure.tries, secure.source.as_str()), (Some(1), "/etc/apache2/apache2.conf:32"));
    assert_eq!(configuration.faults.len(), 1, "{:?}", configuration.faults);
    assert!(configuration.faults[0].contains("anew for each request"));
}

#[test]
fn logs_and_formats() {
    let logs = front().logs;
    let error = logs.iter().find(|log| log.is_error_log).unwrap();
    assert_eq!((error.target.as_deref(), error.level.as_deref()), (Some("/var/log/apache2/error.log"), Some("warn")));
    let access = logs.iter().find(|log| !log.is_error_log).unwrap();
    assert_eq!(access.target.as_deref(), Some("/var/log/apache2/access.log"));
    let format = access.format.as_deref().unwrap();
    assert_eq!(format, r#"%h %l %u %t "%r" %>s %O %D %L "%{error-notes}n" %{BALANCER_WORKER_NAME}e"#);
}

#[test]
fn includes_and_the_environment() {
    let configuration = read(&[
        (
            "/etc/apache2/apache2.conf",
            "IncludeOptional sites/*.conf\nIncludeOptional none.conf\nInclude missing/*.conf\n",
        ),
        ("/etc/apache2/envvars", "export APACHE_LOG_DIR=/var/log/apache2$SUFFIX\n"),
        (
            "/etc/apache2/sites/a.conf",
            "<VirtualHost *>\nProxyPass / http://a:1/\nErrorLog ${APACHE_LOG_DIR}/e.log\n</VirtualHost>\n</Nothing>\n",
        ),
    ]);
    assert_eq!(configuration.pools[0].members[0].address, "a:1");
    assert_eq!(configuration.logs[0].target.as_deref(), Some("/var/log/apache2/e.log"));
    assert_eq!(configuration.files.len(), 2);
    assert_eq!(configuration.faults.len(), 2, "{:?}", configuration.faults);
}
