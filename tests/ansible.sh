#!/usr/bin/env bash
# The rollout by Ansible, with the real ansible-core over the real sshd: tests/ansible.sh [FOLDER OF PACKAGES]. Its three fresh
# hosts are overlays of this machine's root, each with namespaces of its own; nothing of them stays. They have no systemd, so init
# scripts written here stand in for the units, which tests/packages.sh judges. Exit 77: it can't be done here.
set -euo pipefail
cd "$(dirname "$0")/.."
ansible=/usr/local/lib/why502-rollout
fail() { echo "FAILED: $1" >&2; exit 1; }

# ---- a host: its first process ----

if [ "${1:-}" = --host ]; then
    name=$2 root=$3
    hostname "$name"
    ip link set lo up
    mount -t proc proc "$root/proc"
    exec chroot "$root" /usr/sbin/sshd -D -e -f /etc/ssh/rollout
fi

if [ "${1:-}" != --inside ]; then
    for tool in sshd ssh-keygen ip unshare dpkg-deb start-stop-daemon "$ansible/bin/ansible-playbook"; do
        command -v "$tool" >/dev/null || { echo "there is no $tool" >&2; exit 77; }
    done
    /usr/bin/python3 -c 'import apt' || { echo "there is no python3-apt" >&2; exit 77; }
    [ "$(id -u)" = 0 ] || { echo "hosts need root" >&2; exit 77; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    packages=${1:-$work/packages}
    compgen -G "$packages/why502_*.deb" >/dev/null || deploy/package.sh --dev --out "$packages" >/dev/null
    # Whatever runs there ends with it.
    unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private "$0" --inside "$work" "$(realpath "$packages")"
    exit
fi
work=$2 packages=$3
until_it() { for _ in $(seq 100); do eval "$1" && return; sleep 0.1; done; fail "$2"; }

# ---- three hosts ----

# An init script as Debian's, for a program that runs as its own user.
init_script() {
    local program=$1 arguments=$2
    cat <<END
#!/bin/sh
### BEGIN INIT INFO
# Provides:          $program
# Required-Start:    \$network
# Required-Stop:     \$network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: $program
### END INIT INFO
known="--pidfile /run/$program.pid --name $program --user $program"
case \$1 in
    start) start-stop-daemon --start \$known --oknodo --background --make-pidfile --chuid $program --umask 077 \\
        --output /var/log/$program.log --exec /usr/bin/$program -- $arguments ;;
    stop) start-stop-daemon --stop \$known --oknodo --remove-pidfile --retry 10 ;;
    restart) \$0 stop && \$0 start ;;
    status) if start-stop-daemon --status \$known; then echo "$program is running"; else echo "$program is stopped"; exit 3; fi ;;
esac
END
}

make_root() {
    local root=$1
    mkdir -p "$root" "$root.upper" "$root.work"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$root.upper,workdir=$root.work" "$root"
    mount --rbind /dev "$root/dev"
    # Without lists of packages apt has less to read, and nothing comes from elsewhere. Nobody reads manual pages there.
    rm -rf "$root/var/lib/apt/lists" "$root/var/lib/man-db/auto-update"
    install -d "$root/run/sshd" && install -d -m 0700 "$root/root/.ssh"
    install -m 0600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
    printf '%s\n' 'HostKey /etc/ssh/rollout_key' 'PermitRootLogin prohibit-password' 'UsePAM no' 'PidFile none' \
        'Subsystem sftp internal-sftp' >"$root/etc/ssh/rollout"
    ssh-keygen -q -t ed25519 -N '' -f "$root/etc/ssh/rollout_key"
    init_script why502 'serve --config /etc/why502/collector.toml' >"$root/etc/init.d/why502"
    init_script why502-agent 'run --config /etc/why502/agent.toml' >"$root/etc/init.d/why502-agent"
    chmod 755 "$root/etc/init.d/"why502*
    # A login by key is refused where the password is locked.
    chroot "$root" /usr/sbin/usermod -p '*' root
}

# start_host NAME ADDRESS
start_host() {
    local name=$1 address=$2 root=$work/hosts/$1 own
    make_root "$root"
    unshare --mount --net --pid --uts --fork --kill-child "$0" --host "$name" "$root" 2>"$work/$name.log" &
    local pid=$!
    own=$(readlink /proc/self/ns/net)
    until_it "[ '$own' != \"\$(readlink /proc/$pid/ns/net)\" ]" "$name has no network of its own"
    ip link add "to-$name" type veth peer name eth0 netns "$pid"
    ip link set "to-$name" master hosts up
    nsenter --net="/proc/$pid/ns/net" ip address add "$address/24" dev eth0
    nsenter --net="/proc/$pid/ns/net" ip link set eth0 up
    until_it "grep -q 'Server listening on 0.0.0.0' '$work/$name.log'" "$name has no sshd: $(cat "$work/$name.log")"
}

# What hosts write goes with the namespace.
mkdir "$work/hosts" && mount -t tmpfs tmpfs "$work/hosts"
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
    why502_service_manager: sysvinit
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
expect() { eval "$1" || { cat "$work/ansible.log" >&2; fail "$2"; }; }
# shellcheck disable=SC2086 # the options are several words
on() { ssh -F none $ssh_options "root@$1" "$2"; }
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
echo "ansible: three hosts rolled out and enrolled, the second run changed nothing, an upgrade came back, a broken one stopped the rest"
