#!/usr/bin/env bash
# Builds packages of both programs: PROGRAM_VERSION_ARCH.deb and PROGRAM-VERSION-1.ARCH.rpm, with units, configuration,
# manual pages and shell completions. Needs dpkg-deb for deb and rpmbuild for rpm, and nothing else beside Rust.
#
#   deploy/package.sh [--out FOLDER]     default: target/packages
#   deploy/package.sh --dev              the collector of the development build, for tests; the agent is what ships
#   WHY502_AGENT_BIN=FILE                this static agent, instead of building one
set -euo pipefail
cd "$(dirname "$0")/.."

out=target/packages
dev=0
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=${2:?--out needs a folder}; shift ;;
        --dev) dev=1 ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "deploy/package.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
    esac
    shift
done

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
machine=$(uname -m)
case $machine in x86_64) debian=amd64 ;; aarch64) debian=arm64 ;; *) debian=$machine ;; esac
target=$machine-unknown-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- what goes in ----

# Its unit lets the agent execute no library, so whoever packs it packs the static one.
agent=${WHY502_AGENT_BIN:-}
if [ -z "$agent" ]; then
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release -p why502-agent --target "$target"
    agent=target/$target/release/why502-agent
fi
if [ "$dev" = 1 ]; then
    cargo build --quiet --workspace --bins
    collector=target/debug/why502
else
    cargo build --quiet --release -p why502
    cargo build --quiet -p why502-tests --bin manuals
    collector=target/release/why502
fi
manuals=target/debug/manuals
"$manuals" "$work/manuals"

# stage PROGRAM BINARY CONFIG: the files of a package as they will lie.
stage() {
    local program=$1 binary=$2 config=$3 root=$work/$1
    install -Ds -m 0755 "$binary" "$root/usr/bin/$program"
    install -D -m 0644 "deploy/units/$program.service" "$root/usr/lib/systemd/system/$program.service"
    install -D -m 0640 "deploy/package/$config" "$root/etc/why502/$config"
    install -D -m 0644 "deploy/$config" "$root/usr/share/doc/$program/$config"
    install -D -m 0644 LICENSE "$root/usr/share/doc/$program/copyright"
    install -D -m 0644 "$work/manuals/bash/$program.bash" "$root/usr/share/bash-completion/completions/$program"
    install -D -m 0644 "$work/manuals/zsh/_$program" "$root/usr/share/zsh/vendor-completions/_$program"
    install -D -m 0644 "$work/manuals/fish/$program.fish" "$root/usr/share/fish/vendor_completions.d/$program.fish"
    local page
    for page in "$work/manuals/man/$program".1 "$work/manuals/man/$program"-[a-z]*.1; do
        # The pages of why502-agent begin with why502, too.
        case $program:${page##*/} in why502:why502-agent*) continue ;; esac
        [ -e "$page" ] || continue
        gzip -9n <"$page" | install -D -m 0644 /dev/stdin "$root/usr/share/man/man1/${page##*/}.gz"
    done
}

# script NAME PROGRAM CONFIG: a script of a package, with the names in it.
script() { sed -e "s/PROGRAM/$2/g" -e "s/CONFIG/$3/g" "deploy/package/$1"; }

# ---- deb ----

build_deb() {
    local program=$1 config=$2 summary=$3 depends=$4 root=$work/$1-deb
    cp -a "$work/$program" "$root"
    mkdir -p "$root/DEBIAN"
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: %s\nSection: admin\nPriority: optional\n' "$program" "$version" "$debian"
        printf 'Maintainer: why502 <why502@localhost>\nInstalled-Size: %s\n' "$(du -sk "$work/$program" | cut -f1)"
        printf 'Depends: %s\nDescription: %s\n' "$depends" "$summary"
    } >"$root/DEBIAN/control"
    echo "/etc/why502/$config" >"$root/DEBIAN/conffiles"
    script after-install "$program" "$config" | install -m 0755 /dev/stdin "$root/DEBIAN/postinst"
    script before-remove "$program" "$config" | install -m 0755 /dev/stdin "$root/DEBIAN/prerm"
    script after-remove "$program" "$config" | install -m 0755 /dev/stdin "$root/DEBIAN/postrm"
    dpkg-deb --root-owner-group --build "$root" "$out/${program}_${version}_$debian.deb" >/dev/null
}

# ---- rpm ----

build_rpm() {
    local program=$1 config=$2 summary=$3 spec=$work/$1.spec
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: %s\nLicense: Apache-2.0\nBuildArch: %s\n' "$program" "$version" "$summary" "$machine"
        # The programs are built and stripped already, and need no library but the C library.
        printf '%%define debug_package %%{nil}\n%%define __os_install_post %%{nil}\nAutoReqProv: no\nRequires(post): shadow-utils\n'
        printf '%%description\n%s\n%%install\ncp -a %s/. %%{buildroot}\n' "$summary" "$work/$program"
        printf '%%post\n'; script after-install "$program" "$config"
        printf '%%preun\n'; script before-remove "$program" "$config"
        printf '%%postun\n'; script after-remove "$program" "$config"
        printf '%%files\n%%defattr(-,root,root)\n'
        (cd "$work/$program" && find . -type f ! -path './etc/*' -printf '/%P\n')
        printf '%%config(noreplace) %%attr(0640,root,root) /etc/why502/%s\n' "$config"
    } >"$spec"
    rpmbuild --quiet -bb --define "_topdir $work/rpm" --define "_rpmdir $work/rpms" --target "$machine" "$spec" \
        >"$work/rpmbuild.log" 2>&1 || { cat "$work/rpmbuild.log" >&2; exit 1; }
    find "$work/rpms" -name "$program-$version-*.rpm" -exec mv {} "$out/" \;
}

mkdir -p "$out"
stage why502-agent "$agent" agent.toml
stage why502 "$collector" collector.toml
install -D -m 0644 deploy/units/kernel-log.conf "$work/why502-agent/usr/share/doc/why502-agent/kernel-log.conf"
for template in deploy/alerts/*.j2; do
    install -D -m 0644 "$template" "$work/why502/usr/share/why502/alerts/${template##*/}"
done
agent_summary="Sees a host for why502: processes, ports, resources, health and gateway logs"
collector_summary="Says why the load balancer said 502: the collector and its command line"
for kind in deb rpm; do
    case $kind in deb) tool=dpkg-deb ;; rpm) tool=rpmbuild ;; esac
    if ! command -v "$tool" >/dev/null; then
        echo "no $kind packages: there is no $tool" >&2
        continue
    fi
    # The static agent needs no C library.
    "build_$kind" why502-agent agent.toml "$agent_summary" passwd
    "build_$kind" why502 collector.toml "$collector_summary" 'passwd, libc6 (>= 2.34), libgcc-s1'
done
ls -l "$out"
