//! What kind of machine this is: its kernel, its distribution, whether it is virtual, and what contains this program. Sources:
//! /proc/sys/kernel/osrelease, os-release(5), the DMI names in /sys/class/dmi/id, the flag that hypervisors set on x86 in
//! /proc/cpuinfo, and the marks that makers of containers leave: systemd's container interface, /.dockerenv, /run/.containerenv.

use std::path::Path;

use super::read_text;

/// A machine. What is empty or absent was not told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The distribution as it names itself.
    pub system: String,
    /// Whether a hypervisor runs it.
    pub is_virtual: Option<bool>,
    /// As its firmware calls it: vendor and product.
    pub model: String,
    /// What this program is contained in.
    pub container: String,
}

/// Reads what is told below `root`.
pub fn read(root: &Path) -> Machine {
    let text = |path: &str| read_text(&root.join(path)).unwrap_or_default();
    let line = |path: &str| text(path).trim().to_owned();
    // The first that says something.
    let first = |found: [String; 2]| found.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let (vendor, product) = (line("sys/class/dmi/id/sys_vendor"), line("sys/class/dmi/id/product_name"));
    Machine {
        kernel: line("proc/sys/kernel/osrelease"),
        system: first(["etc/os-release", "usr/lib/os-release"].map(|path| parse_system(&text(path)))),
        is_virtual: parse_is_virtual(&text("proc/cpuinfo")),
        model: format!("{vendor} {product}").trim().to_owned(),
        container: first([line("run/systemd/container"), marked(root).to_owned()]),
    }
}

/// The container of whose maker there is a mark.
fn marked(root: &Path) -> &'static str {
    let marks =
        [(".dockerenv", "docker"), ("run/.containerenv", "podman"), ("var/run/secrets/kubernetes.io", "kubernetes")];
    marks.into_iter().find(|(path, _)| root.join(path).exists()).map_or("", |(_, name)| name)
}

/// The name for people in os-release(5).
fn parse_system(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    name.trim().trim_matches(['"', '\'']).to_owned()
}

/// Whether the processors' flags tell of a hypervisor. None: they have no flags (not x86).
fn parse_is_virtual(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.trim_start().strip_prefix(':'))?;
    Some(flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_virtual_machine_and_a_container_in_it_are_told() {
        let root = tree(&[
            ("proc/sys/kernel/osrelease", "6.1.0-28-amd64\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse2 hypervisor lahf_lm\nbugs\t\t:\n"),
            ("usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ("sys/class/dmi/id/product_name", "Standard PC (Q35 + ICH9, 2009)\n"),
            ("run/.containerenv", ""),
        ]);
        let machine = read(root.path());
        assert_eq!((machine.kernel.as_str(), machine.is_virtual), ("6.1.0-28-amd64", Some(true)));
        assert_eq!(machine.system, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(machine.model, "QEMU Standard PC (Q35 + ICH9, 2009)");
        assert_eq!(machine.container, "podman");
    }

    #[test]
    fn what_is_not_told_is_no_answer() {
        assert_eq!(read(tree(&[]).path()), Machine::default());
        let root = tree(&[("proc/cpuinfo", "flags\t\t: fpu sse2\n"), ("run/systemd/container", "lxc\n")]);
        let machine = read(root.path());
        assert_eq!((machine.is_virtual, machine.container.as_str()), (Some(false), "lxc"));
        let arm = tree(&[("proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd\n")]);
        assert_eq!(read(arm.path()).is_virtual, None);
    }
}
