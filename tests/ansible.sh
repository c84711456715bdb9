#!/usr/bin/env bash
# The rollout by Ansible, with the real ansible-core over the real sshd: tests/ansible.sh [FOLDER OF PACKAGES]. Its three fresh
# hosts are overlays of this machine's root, each with namespaces and a control group of its own and the real systemd as its first
# process; nothing of them stays. Exit 77: it can't be done here.
set -euo pipefail
cd "$(dirname "$0")/.."
ansible=/usr/local/lib/why502-rollout
fail() { echo "FAILED: $1" >&2; exit 1; }

# ---- a host: its first process ----

if [ "${1:-}" = --host ]; then
    root=$2
    ip link set lo up
    # As containers have it: what is the kernel's own is not the host's to set.
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys" && mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    cd "$root" && pivot_root . . && umount -l .
    exec env -i container=rollout PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
fi

if [ "${1:-}" != --inside ]; then
    for tool in sshd ssh-keygen ip unshare pivot_root dpkg-deb /lib/systemd/systemd "$ansible/bin/ansible-playbook"; do
        command -v "$tool" >/dev/null || { echo "there is no $tool" >&2; exit 77; }
    done
    /usr/bin/python3 -c 'import apt' || { echo "there is no python3-apt" >&2; exit 77; }
    [ "$(id -u)" = 0 ] || { echo "hosts need root" >&2; exit 77; }
    grep -qw cgroup2 /proc/filesystems || { echo "systemd needs the second version of control groups" >&2; exit 77; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    packages=${1:-$work/packages}
    compgen -G "$packages/why502_*.deb" >/dev/null || deploy/package.sh --dev --out "$packages" >/dev/null
    # Whatever runs there ends with it.
    unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private "$0" --inside "$work" "$(realpath "$packages")"
    exit
fi
work=$2 packages=$3
# Waits for a condition; what is said of it is made when it did not come.
until_it() { for _ in $(seq 200); do eval "$1" && return 0; sleep 0.1; done; fail "$(eval "echo \"$2\"")"; }

# What hosts write goes with the namespace; their control groups do not.
mkdir "$work/hosts" "$work/cgroups"
mount -t tmpfs tmpfs "$work/hosts"
mount -t cgroup2 cgroup2 "$work/cgroups" || { echo "control groups can't be made here" >&2; exit 77; }
group_of() { echo "$work/cgroups/${work##*/}-$1"; }
end_hosts() {
    local pids
    pids=$(jobs -p)
    # shellcheck disable=SC2086 # the ids are several words
    [ -z "$pids" ] || { kill -KILL $pids; wait $pids 2>/dev/null || true; }
    for group in "$(group_of '')"*; do
        until_it "find '$group' -depth -type d -exec rmdir {} + 2>/dev/null" "$group is still in use"
    done
}
trap end_hosts EXIT

# ---- three hosts ----

# make_root NAME FOLDER
make_root() {
    local name=$1 root=$2 device units=$2/etc/systemd/system
    mkdir -p "$root" "$root.upper" "$root.work"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$root.upper,workdir=$root.work" "$root"
    for folder in dev run tmp; do mount -t tmpfs tmpfs "$root/$folder"; done
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
    mount -t devpts devpts "$root/dev/pts"
    ln -s /proc/self/fd "$root/dev/fd" && ln -s pts/ptmx "$root/dev/ptmx"
    # Without lists of packages apt has less to read, and nothing comes from elsewhere. Nobody reads manual pages there.
    rm -rf "$root/var/lib/apt/lists" "$root/var/lib/man-db/auto-update"
    echo "$name" >"$root/etc/hostname"
    # Of what this machine would start only sshd and the journal are wanted.
    rm -rf "$units" "$root"/usr/lib/systemd/system/*.wants "$root/usr/lib/systemd/system-generators" "$root/etc/fstab"
    mkdir -p "$units/multi-user.target.wants"
    ln -s /lib/systemd/system/multi-user.target "$units/default.target"
    printf '%s\n' '[Service]' 'ExecStart=/usr/sbin/sshd -D -f /etc/ssh/rollout' 'RuntimeDirectory=sshd' \
        >"$units/rollout.service"
    ln -s ../rollout.service /lib/systemd/system/systemd-journald.service "$units/multi-user.target.wants/"
    install -d -m 0700 "$root/root/.ssh"
    install -m 0600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
    printf '%s\n' 'HostKey /etc/ssh/rollout_key' 'PermitRootLogin prohibit-password' 'UsePAM no' 'PidFile none' \
        'Subsystem sftp internal-sftp' >"$root/etc/ssh/rollout"
    ssh-keygen -q -t ed25519 -N '' -f "$root/etc/ssh/rollout_key"
    # A login by key is refused where the password is locked.
    chroot "$root" /usr/sbin/usermod -p '*' root
}

# start_host NAME ADDRESS
start_host() {
    local name=$1 address=$2 root=$work/hosts/$1 group own
    make_root "$name" "$root"
    group=$(group_of "$name")
    mkdir "$group"
    (
        echo 0 >"$group/cgroup.procs"
        exec unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child "$0" --host "$root" >"$work/$name.log" 2>&1
    ) &
    local pid=$!
    own=$(readlink /proc/self/ns/net)
    until_it "[ '$own' != \"\$(readlink /proc/$pid/ns/net)\" ]" "$name has no network of its own"
    ip link add "to-$name" type veth peer name eth0 netns "$pid"
    ip link set "to-$name" master hosts up
    nsenter --net="/proc/$pid/ns/net" ip address add "$address/24" dev eth0
    nsenter --net="/proc/$pid/ns/net" ip link set eth0 up
    until_it "ssh-keyscan -T 1 $address 2>/dev/null | grep -q ." "$name has no sshd: \$(cat '$work/$name.log')"
}

ssh-keygen -q -t ed25519 -N '' -f "$work/key"
ip link set lo up
ip link add hosts type bridge && ip address add 192.0.2.1/24 dev hosts && ip link set hosts up
start_host hub 192.0.2.10
start_host app-1 192.0.2.11
start_host app-2 192.0.2.12

# ---- rolling out ----

ssh_options="-i $work/key -o UserKnownHostsFile=$work/known -o StrictHostKeyChecking=accept-new"
cat >"$work/inventory.yml" <<END
all:
  vars:
    ansible_user: root
    ansible_ssh_common_args: -F none $ssh_options
    ansible_python_interpreter: /usr/bin/python3
    why502_packages: "{{ packages_of[inventory_hostname] | default('$packages') }}"
    why502_stay_for: 1
why502_collector:
  hosts:
    hub: { ansible_host: 192.0.2.10 }
why502_agents:
  hosts:
    app-1:
      ansible_host: 192.0.2.11
      why502_agent_settings: { interval: 1s }
      why502_services:
        - { name: "api \"über\"", listen: ["3000"], match: { cmdline: 'node .*index\\.js' }, health: { path: /health, port: 3000 } }
    app-2: { ansible_host: 192.0.2.12 }
    hub:
END
export HOME=$work/home PYTHONPATH=$ansible LC_ALL=C.UTF-8 ANSIBLE_PIPELINING=1 ANSIBLE_NOCOLOR=1
mkdir "$HOME"
# roll_out VARIABLES as JSON; the log is the last run's.
roll_out() { "$ansible/bin/ansible-playbook" -i "$work/inventory.yml" deploy/ansible/site.yml -e "$1" >"$work/ansible.log" 2>&1; }
expect() { eval "$1" || { cat "$work/ansible.log" >&2; tell_units; fail "$2"; }; }
# shellcheck disable=SC2086 # the options are several words
on() { ssh -F none $ssh_options "root@$1" "$2"; }
# What each host's systemd saw of the units.
tell_units() {
    local host
    for host in 192.0.2.10 192.0.2.11 192.0.2.12; do on "$host" 'journalctl --no-pager --lines 30 --unit "why502*"' >&2 || true; done
}
# status EXPRESSION: of what the collector says, as `it`.
status() { on 192.0.2.10 'why502 status --json' | python3 -c "import json, sys; it = json.load(sys.stdin); sys.exit(not ($1))"; }
recap() { sed -n '/^PLAY RECAP/,$p' "$work/ansible.log"; }
version() { on "$1" 'dpkg-query --show --showformat=\${Version} why502-agent'; }

together='{"why502_batches": [3], "packages_of": {}}'
expect 'roll_out "$together"' "the first run"
expect "status \"it['hosts']['up'] == 3 and it['agents']['silent'] == []\"" "not all hosts report"
expect "status \"it['doors']['ingest'] == 'tls' and it['doors']['exposed'] == []\"" "reports do not come over TLS only"
expect "! on 192.0.2.10 'why502 token list' | grep -q ' host '" "a token was left over"
expect "on 192.0.2.11 'why502-agent validate --config /etc/why502/agent.toml' | grep -q 'api \"über\"'" "the service is not configured"
# confinement ADDRESS UNIT: what its process is given; nothing where it does not run by the unit that ships, and by that alone.
confinement() {
    on "$1" "cat /lib/systemd/system/$2.service" | cmp --quiet - "deploy/units/$2.service" || return 0
    on "$1" "process=\$(systemctl show --property=MainPID --value $2)
        [ -z \"\$(systemctl show --property=DropInPaths --value $2)\" ] && ps -o user:32= -p \$process &&
        grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/\$process/status" | xargs
}
# Those of the agent are CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
agents='why502-agent CapEff: 0000000000080004 NoNewPrivs: 1 Seccomp: 2'
expect '[ "$(confinement 192.0.2.11 why502-agent)" = "$agents" ]' "the agent is not confined as its unit says"
collectors='why502 CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2'
expect '[ "$(confinement 192.0.2.10 why502)" = "$collectors" ]' "the collector is not confined as its unit says"
key_of() { on "$1" 'stat -c %U:%a /var/lib/why502-agent/identity/key.pem; cat /var/lib/why502-agent/identity/key.pem'; }
key=$(key_of 192.0.2.11)
expect '[ "$(head -1 <<<"$key")" = why502-agent:600 ]' "others read the key, or the agent can not"

expect 'roll_out "$together"' "the second run"
expect "[ \$(recap | grep -c ' changed=0 .* failed=0 ') = 3 ]" "the second run changes something"

# ---- upgrading, one host after the other: the first comes back, the second does not, the third is left alone ----

# repackage FOLDER SUFFIX: the agent's package once more, as a newer version.
repackage() {
    local folder=$1 package
    package=$(basename "$packages"/why502-agent_*.deb .deb)
    mkdir "$folder"
    dpkg-deb -R "$packages/$package.deb" "$folder/agent"
    sed -i "s/^Version: .*/&$2/" "$folder/agent/DEBIAN/control"
    [ "$2" != +broken ] || printf '#!/bin/sh\nexit 1\n' >"$folder/agent/usr/bin/why502-agent"
    dpkg-deb -Zgzip -z1 --build "$folder/agent" "$folder/${package%_*}$2_${package##*_}.deb" >/dev/null
}

repackage "$work/newer" +newer
repackage "$work/broken" +broken
one_by_one=$(printf '{"why502_batches": [1], "why502_back_within": 5, "packages_of": {"app-1": "%s", "app-2": "%s", "hub": "%s"}}' \
    "$work/newer" "$work/broken" "$packages")
expect '! roll_out "$one_by_one"' "an agent that does not start passes for one that came back"
expect "grep -q 'not back, as host and version: app-2 ' '$work/ansible.log'" "it does not say who is missing"
expect "version 192.0.2.11 | grep -q '+newer$'" "the first host was not upgraded"
expect '[ "$key" = "$(key_of 192.0.2.11)" ]' "an upgrade enrolled the host anew"
expect "status \"it['hosts']['up'] == 2\"" "the other two hosts do not report"
expect "! grep -q '^changed: .hub' '$work/ansible.log'" "a host after the broken one was touched"

# ---- removing, as systemd does it ----

expect "on 192.0.2.11 'systemctl is-active --quiet why502-agent'" "the agent does not run"
expect "[ \"\$(on 192.0.2.11 'systemctl show --property=NRestarts --value why502-agent')\" = 0 ]" "the unit did not keep running"
expect "on 192.0.2.11 'dpkg --remove why502-agent' >'$work/dpkg' 2>&1" "the agent can not be removed"
expect "! on 192.0.2.11 'pgrep --exact why502-agent' >/dev/null" "a process stayed"
expect "on 192.0.2.11 'test -s /var/lib/why502-agent/identity/key.pem'" "removing took the state"
echo "ansible: three hosts rolled out and enrolled, the second run changed nothing, an upgrade came back, a broken one stopped the rest"
