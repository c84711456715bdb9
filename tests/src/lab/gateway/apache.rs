//! Apache httpd with mod_proxy_balancer: which line of the error log belongs to which of the access log is told by `%L`.

use std::fmt::Write;
use std::path::Path;

use super::{PORT, Reload, SetUp, trusted, words};
use crate::lab::plan::Gateway;

/// What Debian has outside the program itself.
const MODULES: [&str; 10] = [
    "mpm_event",
    "authz_core",
    "env",
    "proxy",
    "proxy_http",
    "proxy_balancer",
    "slotmem_shm",
    "lbmethod_byrequests",
    "proxy_hcheck",
    "ssl",
];

pub(super) fn set_up(gateway: &Gateway, members: &[String], dir: &Path) -> SetUp {
    SetUp {
        file: "httpd.conf",
        text: configuration(gateway, members, dir),
        argv: words(&format!("apache2 -DFOREGROUND -f {}/httpd.conf", dir.display())),
        out: "apache.out",
        logs: vec![("access_log", "access.log"), ("error_log", "error.log")],
        reload: Reload::Signal("SIGUSR1"),
    }
}

fn configuration(gateway: &Gateway, members: &[String], dir: &Path) -> String {
    let (at, balancer, tls) = (dir.display(), balancer(gateway, members), tls(gateway, dir));
    let modules: String = MODULES.iter().fold(String::new(), |mut text, name| {
        let _ = writeln!(text, "LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so");
        text
    });
    let format = if gateway.plain_log {
        r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""#
    } else {
        r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %{BALANCER_WORKER_NAME}e %D %L"#
    };
    let errors = r"[%{u}t] [%-m:%l] [pid %P:tid %T] [%L] %E: [client\ %a] %M% ,\ referer\ %{Referer}i";
    format!(
        r#"{modules}ServerRoot "{at}"
ServerName edge
PidFile {at}/httpd.pid
DefaultRuntimeDir {at}
Mutex pthread
User www-data
Group www-data
Listen {PORT}
StartServers 1
MinSpareThreads 25
MaxSpareThreads 75
ErrorLog {at}/error.log
ErrorLogFormat "{errors}"
LogFormat "{format}" edge
CustomLog {at}/access.log edge
{tls}{balancer}"#
    )
}

fn balancer(gateway: &Gateway, members: &[String]) -> String {
    let scheme = if gateway.tls { "https" } else { "http" };
    let (connect_s, read_s, kib) = (gateway.connect_s, gateway.read_s, gateway.header_kib);
    let mut settings = format!("connectiontimeout={connect_s} timeout={read_s} responsefieldsize={}", kib << 10);
    if gateway.keepalive == 0 {
        settings.push_str(" disablereuse=On");
    }
    // A member that failed once is left out for a minute otherwise.
    settings.push_str(if gateway.retries { " retry=2" } else { " status=+I" });
    if let Some(check) = gateway.check {
        let _ = write!(
            settings,
            " hcmethod=GET hcuri={} hcinterval={}ms hcfails={} hcpasses={}",
            check.path, check.every_ms, check.fall, check.rise
        );
    }
    let members: String = members.iter().fold(String::new(), |mut text, member| {
        let _ = writeln!(text, "    BalancerMember {scheme}://{member} {settings}");
        text
    });
    format!("<Proxy balancer://shop>\n{members}</Proxy>\nProxyPass / balancer://shop/\n")
}

fn tls(gateway: &Gateway, dir: &Path) -> String {
    if !gateway.tls {
        return String::new();
    }
    let trusted = trusted(dir);
    format!(
        "SSLProxyEngine on\nSSLProxyVerify require\nSSLProxyCheckPeerName off\nSSLProxyCACertificateFile {trusted}\n"
    )
}
