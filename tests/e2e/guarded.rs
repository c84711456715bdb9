//! What stands before receivers in the world: TLS with a certificate of somebody's own CA, and a token. A real nginx.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::feeds::program;
use super::hook::Hook;
use super::parts::{Parts, free_port, run, until};

/// nginx before a receiver, its CA and certificate.
pub struct Guarded {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Guarded {
    /// Lets through to `backend` who shows `token` as Authorization. None: this machine lacks a program for it.
    pub fn start(backend: &str, token: &str) -> Option<Self> {
        let (nginx, openssl) = (program("nginx")?, program("openssl")?);
        let dir = tempfile::tempdir().unwrap();
        certify(&openssl, dir.path());
        let (port, place) = (free_port(), dir.path().display());
        let conf = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\nhttp {{\n access_log off;\n \
             client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;\n \
             uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n server {{ listen 127.0.0.1:{port} ssl;\n \
             ssl_certificate {place}/leaf.pem; ssl_certificate_key {place}/leaf.key;\n \
             if ($http_authorization != \"{token}\") {{ return 401; }}\n location / {{ proxy_pass http://{backend}; }} }}\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), conf).unwrap();
        let child = Command::new(nginx)
            .args(["-e", "stderr", "-c"])
            .arg(dir.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("nginx listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Self { child, port, dir })
    }

    /// Where to post to, under the name that the certificate has.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The CA's certificate.
    pub fn roots(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Makes a CA, and by it a certificate of localhost.
fn certify(openssl: &Path, dir: &Path) {
    authority(openssl, dir, "ca");
    certificate(openssl, dir, "ca", "leaf", "DNS:localhost");
}

/// Makes a CA: NAME.pem and NAME.key.
pub fn authority(openssl: &Path, dir: &Path, name: &str) {
    new_certificate(openssl, dir, name, &["-subj", &format!("/CN={name} of its own")]);
}

/// Makes a certificate of these names by a CA: NAME.pem and NAME.key.
pub fn certificate(openssl: &Path, dir: &Path, by: &str, name: &str, names: &str) {
    let [ca, key] = ["pem", "key"].map(|kind| dir.join(format!("{by}.{kind}")).display().to_string());
    let by = ["-CA", &ca, "-CAkey", &key, "-subj", "/CN=one of them", "-addext", "basicConstraints=critical,CA:FALSE"];
    new_certificate(openssl, dir, name, &[&by[..], &["-addext", &format!("subjectAltName={names}")]].concat());
}

fn new_certificate(openssl: &Path, dir: &Path, name: &str, more: &[&str]) {
    let [out, key] = ["pem", "key"].map(|kind| dir.join(format!("{name}.{kind}")).display().to_string());
    let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let (code, _, fault) = run(openssl, &[&new[..], &["-out", &out, "-keyout", &key], more].concat());
    assert_eq!(code, 0, "{fault}");
}

#[test]
fn a_webhook_over_https_needs_the_roots_of_the_ca_that_certified_it() {
    let hook = Hook::start(204);
    let Some(guarded) = Guarded::start(&hook.address(), "Bearer hook") else { return };
    let (url, roots) = (guarded.url("/hook?key=hidden"), guarded.roots());
    let elsewhere = url.replace("localhost", "127.0.0.1");
    let keys = "headers = { Authorization = \"Bearer hook\" }";
    let parts = Parts::start_with_alerts(&format!(
        "[[alerts.sink]]\nname = \"system\"\nkind = \"webhook\"\nurl = \"{url}\"\n{keys}\n\
         [[alerts.sink]]\nname = \"own\"\nkind = \"webhook\"\nurl = \"{url}\"\n{keys}\nca_file = {roots:?}\n\
         [[alerts.sink]]\nname = \"misnamed\"\nkind = \"webhook\"\nurl = \"{elsewhere}\"\n{keys}\nca_file = {roots:?}\n",
    ));
    let told = |sink: &str| parts.ask(&["alerts", "test", sink]);
    for (sink, why) in [("system", "UnknownIssuer"), ("misnamed", "not valid for name")] {
        let fault = told(sink);
        assert!(fault.contains(why) && !fault.contains("hidden"), "{sink}: {fault}");
    }
    assert!(hook.bodies().is_empty(), "who is not who it should be is told nothing");
    assert!(told("own").contains("confirmed"));
    assert_eq!(hook.bodies()[0]["step"], "test");
}
