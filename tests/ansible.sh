#!/usr/bin/env bash
# The rollout by Ansible, with the real ansible-core over the real sshd to the three hosts of deploy/hosts.sh, which have the real systemd:
# tests/ansible.sh [FOLDER OF PACKAGES]. It begins with what README has a new user type. Exit 77: it can't be done here.
set -euo pipefail
cd "$(dirname "$0")/.."
ansible=/usr/local/lib/why502-rollout
fail() { echo "FAILED: $1" >&2; exit 1; }

if [ "${1:-}" != --inside ]; then
    for tool in dpkg-deb "$ansible/bin/ansible-playbook"; do
        command -v "$tool" >/dev/null || { echo "there is no $tool" >&2; exit 77; }
    done
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    packages=${1:-$work/packages}
    compgen -G "$packages/why502_*.deb" >/dev/null || deploy/package.sh --dev --out "$packages" >/dev/null
    deploy/hosts.sh "$0" --inside "$work" "$(realpath "$packages")"
    exit
fi
work=$2 packages=$3
# Where deploy/package.sh leaves them; seen so from here only.
mkdir -p target/packages && mount --bind "$packages" target/packages

export HOME=$work/home PATH=$PATH:$ansible/bin PYTHONPATH=$ansible LC_ALL=C.UTF-8 ANSIBLE_PIPELINING=1 ANSIBLE_NOCOLOR=1
mkdir "$HOME"
# roll_out OPTION...; the log is the last run's.
roll_out() { ansible-playbook -i deploy/ansible/inventory.try.yml deploy/ansible/site.yml "$@" >"$work/log" 2>&1; }
expect() { eval "$1" || { cat "$work/log" >&2; tell_units; fail "$2"; }; }
# What takes its time, but not for ever.
expect_soon() { expect "for _ in \$(seq 60); do $1 && break; sleep 0.5; done; $1" "$2"; }
# What each host's systemd saw of the units.
tell_units() {
    local host
    for host in hub app-1 app-2; do ssh "$host" 'journalctl --no-pager --lines 30 --unit "why502*"' >&2 || true; done
}
# told HOST COMMAND EXPRESSION: of the JSON that it prints there, as `it`.
told() { ssh "$1" "$2" | python3 -c "import json, sys; it = json.load(sys.stdin); sys.exit(not ($3))"; }
status() { told hub 'why502 status --json' "$1"; }
recap() { sed -n '/^PLAY RECAP/,$p' "$work/log"; }
version() { ssh "$1" "dpkg-query --show --showformat=\\\${Version} $2"; }

# ---- what README says: three hosts rolled out and enrolled, an application broken, the cause found ----

sed -n '/^ansible-playbook .*inventory.try.yml/,/^```$/{/^```$/!p}' README.md >"$work/readme"
expect '[ "$(wc -l <"$work/readme")" -gt 5 ]' "README does not say how to try a fleet"
expect 'timeout 300 bash -ex "$work/readme" >"$work/log" 2>&1' "what README says does not work"
expect 'grep -q "^agents  *3 of .* over TLS, each with a certificate of its own" "$work/log"' "status does not tell how agents come in"
expect "status \"it['hosts']['up'] == 3 and it['agents']['silent'] == []\"" "not all hosts report"
expect "status \"it['doors']['ingest'] == 'tls' and it['doors']['exposed'] == []\"" "reports do not come over TLS only"
expect "! ssh hub 'why502 token list' | grep -q ' host '" "a token was left over"
killed="len(it['incidents']) == 1 and it['incidents'][0]['cause'] == 'process_killed' and it['incidents'][0]['host'] == 'app-1'"
expect_soon "told hub 'why502 incidents --json' \"$killed\"" "the cause is not found"
killed="len(it) == 1 and it[0]['labels'].items() >= dict(service='shop', host='app-1', cause='process_killed', gateway='edge').items()"
expect_soon "told hub 'curl -s http://127.0.0.1:9093/api/v2/alerts' \"$killed\"" "Alertmanager does not know of the cause"
expect_soon "ssh hub 'grep -q \"shop on app-1 .* was killed\" /var/log/chat && grep -q \"^cause: process_killed\" /var/log/chat'" \
    "the webhook was not told of the cause"

# ---- what runs is what ships ----

# confinement HOST UNIT: what its process is given; nothing where it does not run by the unit that ships, and by that alone.
confinement() {
    ssh "$1" "cat /lib/systemd/system/$2.service" | cmp --quiet - "deploy/units/$2.service" || return 0
    ssh "$1" "process=\$(systemctl show --property=MainPID --value $2)
        [ -z \"\$(systemctl show --property=DropInPaths --value $2)\" ] && ps -o user:32= -p \$process &&
        grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/\$process/status" | xargs
}
# Those of the agent are CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
agents='why502-agent CapEff: 0000000000080004 NoNewPrivs: 1 Seccomp: 2'
expect '[ "$(confinement app-1 why502-agent)" = "$agents" ]' "the agent is not confined as its unit says"
collectors='why502 CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2'
expect '[ "$(confinement hub why502)" = "$collectors" ]' "the collector is not confined as its unit says"
key_of() { ssh "$1" 'stat -c %U:%a /var/lib/why502-agent/identity/key.pem; cat /var/lib/why502-agent/identity/key.pem'; }
key=$(key_of hub)
expect '[ "$(head -1 <<<"$key")" = why502-agent:600 ]' "others read the key, or the agent can not"

expect "roll_out -e '{\"why502_batches\": [3]}'" "the second run"
expect "[ \$(recap | grep -c ' changed=0 .* failed=0 ') = 3 ]" "the second run changes something"

# ---- upgrading, one host after the other: the first comes back, the second does not, the third is left alone ----

# repackage PROGRAM FOLDER SUFFIX: its package once more, as a newer version.
repackage() {
    local folder=$2/$1 package
    package=$(basename "$packages/$1"_*.deb .deb)
    mkdir -p "$folder"
    dpkg-deb -R "$packages/$package.deb" "$folder"
    sed -i "s/^Version: .*/&$3/" "$folder/DEBIAN/control"
    [ "$3" != +broken ] || printf '#!/bin/sh\nexit 1\n' >"$folder/usr/bin/$1"
    dpkg-deb -Zgzip -z1 --build "$folder" "$2/${package%_*}$3_${package##*_}.deb" >/dev/null
}

repackage why502 "$work/newer" +newer
repackage why502-agent "$work/newer" +newer
repackage why502-agent "$work/broken" +broken
# With a name of a service that has to be quoted, and packages for each host.
cat >"$work/newer.yml" <<END
why502_agents:
  hosts:
    hub:
      why502_packages: $work/newer
      why502_services: [{ name: "api \"über\"", listen: ["3000"] }]
    app-1: { why502_packages: $work/broken }
    app-2: { why502_packages: $packages }
END
expect "! roll_out -i '$work/newer.yml' -e '{\"why502_batches\": [1], \"why502_back_within\": 5}'" \
    "an agent that does not start passes for one that came back"
expect "grep -q 'not back, as host and version: app-1 ' '$work/log'" "it does not say who is missing"
expect "[ \"\$(version hub why502)\$(version hub why502-agent)\" = \"\$(version app-2 why502-agent)+newer\$(version app-2 why502-agent)+newer\" ]" \
    "collector and first agent were not upgraded"
expect '[ "$key" = "$(key_of hub)" ]' "an upgrade enrolled the host anew"
expect "status \"it['hosts']['up'] == 2\"" "the other two hosts do not report"
expect "! grep -q '^changed: .app-2' '$work/log'" "a host after the broken one was touched"
expect "ssh hub 'why502-agent validate --config /etc/why502/agent.toml' | grep -q 'api \"über\"'" "the service is not configured"

# Requests failed all the while.
ssh hub systemctl stop clients
failed=$(ssh hub "grep -c '\"status\":502,\"upstream_addr\":\"192.0.2.11:3000\"' /var/log/nginx/access.log")
counted="sum(one['count'] for one in it['incidents'] if one['upstream'] == '192.0.2.11:3000') == $failed"
expect_soon "told hub 'why502 incidents --json' \"$counted\"" "of $failed failures some were lost, or came twice, when collector and agent were upgraded"

# ---- removing, as systemd does it ----

for program in why502-agent why502; do
    expect "ssh hub 'systemctl is-active --quiet $program'" "$program does not run"
    expect "[ \"\$(ssh hub 'systemctl show --property=NRestarts --value $program')\" = 0 ]" "the unit of $program did not keep running"
    expect "ssh hub 'dpkg --remove $program' >'$work/log' 2>&1" "$program can not be removed"
    expect "! ssh hub 'pgrep --exact $program' >/dev/null" "a process of $program stayed"
done
expect "ssh hub 'test -s /var/lib/why502-agent/identity/key.pem && test -d /var/lib/why502/journal'" "removing took the state"
echo "ansible: three hosts rolled out and enrolled as README says, a killed application told to Alertmanager and by webhook, the second run \
changed nothing, an upgrade came back without a loss ($failed failures), a broken one stopped the rest"
