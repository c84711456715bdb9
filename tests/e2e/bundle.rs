//! What a person sends along when asking for help tells nothing secret: what stands in arguments, logs, requests and the
//! gateway's configuration is masked where it is read, and so in every file of a bundle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::parts::{Parts, UPSTREAM, hold_secrets, until};

/// Every secret that is planted holds this.
const PLANTED: &str = "s3cr3tPLANT";

const GATEWAY: &str = "name = \"edge\"\nkind = \"nginx\"\naccess_log = \"DIR/access.log\"\nerror_log = \"DIR/error.log\"\n\
                       config = \"DIR/nginx.conf\"\n";

fn nginx() -> String {
    format!(
        "events {{}}\nhttp {{\n  upstream shop {{ server {UPSTREAM}; }}\n  server {{\n    location / {{\n      \
         # password={PLANTED}0\n      proxy_pass http://shop;\n      proxy_set_header Authorization \"Bearer {PLANTED}1\";\n      \
         proxy_set_header Cookie \"session={PLANTED}2\";\n    }}\n  }}\n}}\n"
    )
}

/// Unpacks a tar.gz beside itself.
fn unpack(file: &Path) -> PathBuf {
    let into = file.with_extension("");
    fs::create_dir(&into).unwrap();
    assert!(Command::new("tar").arg("xzf").arg(file).arg("-C").arg(&into).status().unwrap().success());
    into
}

/// All files below a folder, packed ones unpacked, as text as far as they are.
fn all_below(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(all_below(&path));
        } else if path.extension().is_some_and(|kind| kind == "gz") {
            found.extend(all_below(&unpack(&path)));
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn a_bundle_tells_no_secret() {
    let _service = hold_secrets(&format!("--password={PLANTED}3"));
    let service = format!(
        "[[service]]\nname = \"api\"\nlisten = [\"{UPSTREAM}\"]\nmatch = {{ cmdline = \"holds-secrets\" }}\n\
         logs = [\"DIR/app.log\"]\n"
    );
    let parts = Parts::start_with(&service, GATEWAY, &[("nginx.conf", &nginx())]);
    parts.refused_with(3, &format!("/pay?token={PLANTED}4"), "curl/8.0");
    parts.incident(3);
    parts.application_says(&format!("ERROR cannot reach postgres://shop:{PLANTED}5@db/shop password={PLANTED}6"));
    until("the line and the configuration are known", || {
        let known = parts.ask(&["logs", "api"]).contains("cannot reach");
        (known && parts.ask(&["environment", "api"]).contains("pool shop")).then_some(())
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("help.tar.gz");
    let told = parts.ask(&["bundle", "api", "-o", file.to_str().unwrap()]);
    assert!(told.contains("capsules/") && !told.contains("not in it"), "{told}");
    let files = all_below(&unpack(&file));
    let holding = |text: &str| files.iter().filter(|(_, held)| held.contains(text)).count();
    // The records are not packed in a way that would hide a secret from this look.
    let raw = files.iter().find(|(path, _)| path.extension().is_some_and(|kind| kind == "seg")).unwrap();
    assert!(raw.1.contains("cannot reach") && holding("holds-secrets") > 0, "{:?}", raw.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(holding(kernel.trim()) > 2, "the kernel {kernel} is told as text, as a document and by a record");
    assert!(holding("cannot reach") >= 3 && holding("/pay?token=") >= 3 && holding("nginx.conf:") > 0);
    for (path, held) in &files {
        assert!(!held.contains(PLANTED), "{} tells a secret: {held}", path.display());
    }
}
