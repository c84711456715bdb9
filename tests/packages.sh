#!/usr/bin/env bash
# The packages, held against dpkg, rpm and systemd's own judgement: tests/packages.sh [FOLDER], which keeps what was built.
# Installing happens on an overlay of this machine's root in a mount namespace of its own, so nothing of it stays. Exit 77: it can't be
# done here.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != --inside ]; then
    for tool in dpkg-deb rpmbuild systemd-analyze unshare; do
        command -v "$tool" >/dev/null || { echo "there is no $tool" >&2; exit 77; }
    done
    [ "$(id -u)" = 0 ] || { echo "installing packages needs root" >&2; exit 77; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    packages=$(realpath "${1:-$work/packages}")
    deploy/package.sh --dev --out "$packages" >/dev/null
    unshare --mount --propagation private "$0" --inside "$work" "$packages"
    exit
fi
work=$2 packages=$3

fail() { echo "FAILED: $1" >&2; exit 1; }

# ---- what the units allow ----

for unit in deploy/units/*.service; do
    # In tenths: at most 2.0.
    systemd-analyze security --offline=true --no-pager --threshold=20 "$PWD/$unit" | tail -1 || fail "$unit allows too much"
done

# ---- what rpm says of its packages ----

for program in why502 why502-agent; do
    rpm -qpl "$packages/$program"-[0-9]*.rpm 2>/dev/null >"$work/list"
    for file in "/usr/bin/$program" "/usr/lib/systemd/system/$program.service" "/usr/share/man/man1/$program.1.gz"; do
        grep -qx "$file" "$work/list" || fail "the rpm of $program has no $file"
    done
done
rpm -qp --configfiles "$packages"/why502-[0-9]*.rpm 2>/dev/null | grep -qx /etc/why502/collector.toml ||
    fail "an upgrade by rpm would lose the configuration"

# ---- install, upgrade, remove, purge with dpkg, on an overlay ----

mkdir "$work/tmpfs" && mount -t tmpfs tmpfs "$work/tmpfs"
mkdir "$work/tmpfs/upper" "$work/tmpfs/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/tmpfs/upper,workdir=$work/tmpfs/work" "$work/root"
for folder in proc dev; do mount --rbind "/$folder" "$work/root/$folder"; done
cp "$packages"/*.deb "$packages"/*.rpm "$work/root/tmp/"
on_overlay() { chroot "$work/root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec "$1"; }
installed() { on_overlay 'dpkg -i --force-confold /tmp/why502*.deb' >"$work/dpkg" 2>&1 || { cat "$work/dpkg" >&2; fail "dpkg -i"; }; }

installed
on_overlay 'id why502 && id why502-agent' >/dev/null || fail "the users are missing"
for program in why502 why502-agent; do
    on_overlay "bash -c 'source /usr/share/bash-completion/completions/$program && complete -p $program'" >/dev/null ||
        fail "$program is not completed"
    for page in $(cd "$work/root" && ls usr/share/man/man1/$program.1.gz usr/share/man/man1/$program-*.1.gz); do
        gzip -dc "$work/root/$page" | grep -q '^\.SH NAME' || fail "$page is no manual page"
    done
done
on_overlay 'why502-agent validate --config /etc/why502/agent.toml' >/dev/null || fail "the agent's configuration does not hold"
on_overlay 'test "$(stat -c %a:%G /etc/why502/collector.toml)" = 640:why502' || fail "others may read the configuration"

# ---- the first start from packages: over TLS, with two commands for a host ----

# As its own user, with the packaged configuration, and without any capability.
as_service() { exec chroot "$work/root" setpriv --reuid "$1" --regid "$1" --clear-groups --bounding-set -all --no-new-privs "${@:2}"; }
# Nothing outlives the test, however it ends.
collector='' agent=''
trap 'kill $collector $agent 2>/dev/null || true' EXIT
until_it() { for _ in $(seq 100); do eval "$1" && return; sleep 0.1; done; cat "$work"/*.log >&2; fail "$2"; }

on_overlay 'install -d -o why502 -g why502 /var/lib/why502 && install -d -o why502-agent -g why502-agent /var/lib/why502-agent'
on_overlay 'sed -i "s/:502[01]\"/:0\"/" /etc/why502/collector.toml && printf "[tls]\nnames = [\"localhost\"]\n" >>/etc/why502/collector.toml'
as_service why502 why502 serve --config /etc/why502/collector.toml 2>"$work/collector.log" &
collector=$!
until_it 'grep -q "api listening" "$work/collector.log"' "the collector does not start"
grep -q 'made this collector.s own CA' "$work/collector.log" || fail "the first start made no CA"
address() { sed -n "s/.*$1 listening on \(.*\)/\1/p" "$work/collector.log"; }
ask() { on_overlay "why502 --collector $(address api) $*"; }
ask status | grep -q '^collector' || fail "no answer"
! ask status | grep -q 'plain text' || fail "the packaged configuration is open"
as_service why502-agent why502-agent run --config /etc/why502/agent.toml 2>"$work/agent.log" &
agent=$!
until_it 'grep -q "this host is not enrolled" "$work/agent.log"' "the agent does not wait to be enrolled"
ask token create --host "$(hostname)" >"$work/token" 2>"$work/told"
# The port is a free one here, so that the collector does not know what it is reached at.
enroll=$(sed -n "s|https://[^ ]*|https://localhost:$(address ingest | grep -o '[0-9]*$')|; s/.* | \(why502-agent enroll\)/\1/p" "$work/told")
on_overlay "$enroll" <"$work/token" >/dev/null || fail "the host does not enrol"
on_overlay 'test "$(stat -c %U:%a /var/lib/why502-agent/identity/key.pem)" = why502-agent:600' || fail "the agent can't renew, or others read its key"
until_it 'ask hosts --json 2>/dev/null | grep -q "\"state\":\"up\""' "the enrolled host does not report"
for program in "$agent" "$collector"; do kill "$program" && wait "$program" || fail "a program did not end in good order"; done
collector='' agent=''

installed
on_overlay 'grep -q ":0\"" /etc/why502/collector.toml' || fail "an upgrade changed the configuration"
on_overlay 'test -d /var/lib/why502/journal' || fail "an upgrade lost the state"
on_overlay 'dpkg -r why502 why502-agent && test ! -e /usr/bin/why502 && test -d /var/lib/why502/journal && test -e /etc/why502/agent.toml' \
    >/dev/null || fail "removing takes too much or too little"
on_overlay 'dpkg -P why502 why502-agent && test ! -e /var/lib/why502 && test ! -e /etc/why502/agent.toml' >/dev/null ||
    fail "purging leaves something"

# ---- the same with rpm, which knows nothing of Debian's packages ----

by_rpm() { on_overlay "rpm --force-debian --nodeps $1" >"$work/rpm" 2>&1 || { cat "$work/rpm" >&2; fail "rpm $1"; }; }
by_rpm '-i /tmp/why502*.rpm'
on_overlay 'id why502 && id why502-agent && why502-agent validate --config /etc/why502/agent.toml' >/dev/null || fail "the rpm does not install"
on_overlay 'echo "# ours" >>/etc/why502/collector.toml && install -d /var/lib/why502/journal'
by_rpm '-U --force /tmp/why502*.rpm'
on_overlay 'tail -1 /etc/why502/collector.toml | grep -q ours && test "$(stat -c %a:%G /etc/why502/collector.toml)" = 640:why502' ||
    fail "an upgrade by rpm changed the configuration"
by_rpm '-e why502 why502-agent'
on_overlay 'test ! -e /usr/bin/why502 && test ! -e /usr/bin/why502-agent && test -d /var/lib/why502/journal' ||
    fail "removing by rpm takes too much or too little"
echo "packages: deb installed, upgraded, removed and purged; rpm installed, upgraded and removed; units judged"
