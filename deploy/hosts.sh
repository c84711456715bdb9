#!/usr/bin/env bash
# Three fresh hosts on this machine, to try a rollout on: hub, app-1 and app-2, with what a rollout meets. Both app hosts run the
# application shop; hub has an nginx before them on port 8080 with clients, an Alertmanager, and who writes into /var/log/chat what
# webhooks tell it. Nothing of why502 is on them.
#
#   deploy/hosts.sh              a shell from which `ssh hub` leads there
#   deploy/hosts.sh COMMAND...   this instead
#
# A host is an overlay of this machine's root, with namespaces and a control group of its own and the real systemd as its first
# process. All of it is gone when the command ends. Needs root; on Debian it installs what is missing. Exit 77: it can't be done here.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
fail() { echo "deploy/hosts.sh: $1" >&2; exit 1; }

case ${1:-} in
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --host)
        # The first process of a host. As containers have it: what is the kernel's own is not the host's to set.
        root=$2
        ip link set lo up
        mount -t proc proc "$root/proc"
        mount --bind "$root/proc/sys" "$root/proc/sys" && mount -o remount,bind,ro "$root/proc/sys"
        mount -t sysfs -o ro sysfs "$root/sys"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
        cd "$root" && pivot_root . . && umount -l .
        exec env -i container=rollout PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
        ;;
    --inside) ;;
    *)
        [ "$(id -u)" = 0 ] || { echo "hosts need root" >&2; exit 77; }
        grep -qw cgroup2 /proc/filesystems || { echo "systemd needs the second version of control groups" >&2; exit 77; }
        needed=(sshd:openssh-server sshd:python3-apt ssh:openssh-client ip:iproute2 unshare:util-linux curl:curl nginx:nginx node:nodejs
            /lib/systemd/systemd:systemd prometheus-alertmanager:prometheus-alertmanager)
        . tests/install.sh
        install_missing || exit 77
        /usr/bin/python3 -c 'import apt' || { echo "there is no python3-apt" >&2; exit 77; }
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        [ $# -gt 0 ] || set -- "${SHELL:-bash}"
        # Whatever runs there ends with this, however it ends.
        setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private "$0" --inside "$work" "$@"
        exit
        ;;
esac
work=$2
shift 2
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
    if [ -n "$pids" ]; then
        # A host may have ended by itself; and how they ended is no failure of what ran.
        kill -KILL $pids 2>/dev/null || true
        wait $pids 2>/dev/null || true
    fi
    for group in "$(group_of '')"*; do
        until_it "find '$group' -depth -type d -exec rmdir {} + 2>/dev/null" "$group is still in use"
    done
}
trap end_hosts EXIT
trap 'exit 143' TERM

# ---- a host ----

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
    # What this machine itself may have of these is not the host's.
    rm -rf "$root/var/lib/why502" "$root/var/lib/why502-agent" "$root"/var/lib/prometheus/alertmanager/* "$root"/var/log/nginx/*
    echo "$name" >"$root/etc/hostname"
    cp "$work/names" "$root/etc/hosts"
    # Of what this machine would start only sshd and the journal are wanted.
    rm -rf "$units" "$root"/usr/lib/systemd/system/*.wants "$root/usr/lib/systemd/system-generators" "$root/etc/fstab"
    mkdir -p "$units/multi-user.target.wants"
    ln -s /lib/systemd/system/multi-user.target "$units/default.target"
    service "$root" rollout '/usr/sbin/sshd -D -f /etc/ssh/rollout' RuntimeDirectory=sshd
    start "$root" /lib/systemd/system/systemd-journald.service
    install -d -m 0700 "$root/root/.ssh"
    install -m 0600 "$work/key.pub" "$root/root/.ssh/authorized_keys"
    printf '%s\n' 'HostKey /etc/ssh/rollout_key' 'PermitRootLogin prohibit-password' 'UsePAM no' 'PidFile none' \
        'Subsystem sftp internal-sftp' >"$root/etc/ssh/rollout"
    ssh-keygen -q -t ed25519 -N '' -f "$root/etc/ssh/rollout_key"
    # A login by key is refused where the password is locked.
    chroot "$root" /usr/sbin/usermod -p '*' root
}

# start ROOT UNIT FILE: with the host.
start() { ln -s "$2" "$1/etc/systemd/system/multi-user.target.wants/"; }

# service ROOT NAME COMMAND [LINE...]: a unit that starts with the host.
service() {
    printf '%s\n' '[Service]' "ExecStart=$3" "${@:4}" >"$1/etc/systemd/system/$2.service"
    start "$1" "../$2.service"
}

# start_host NAME ADDRESS PURPOSE
start_host() {
    local name=$1 address=$2 root=$work/hosts/$1 group own
    make_root "$name" "$root"
    "equip_$3" "$root"
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

# ---- what hosts have before why502 comes ----

equip_app() {
    install -D -m 0644 tests/apps/node/server.js "$1/srv/shop/server.js"
    service "$1" shop '/usr/bin/node /srv/shop/server.js' 'Environment=PORT=3000 BIND=0.0.0.0 NAME=shop'
}

equip_hub() {
    cat deploy/gateways/nginx.conf - >"$1/etc/nginx/conf.d/shop.conf" <<'END'
upstream shop {
    server app-1:3000 max_fails=0;
    server app-2:3000 max_fails=0;
}
server {
    listen 8080;
    location / {
        proxy_pass http://shop;
        # Clients are to see what fails.
        proxy_next_upstream off;
    }
}
END
    printf '%s\n' 'events {}' 'http { include conf.d/shop.conf; }' >"$1/etc/nginx/nginx.conf"
    start "$1" /lib/systemd/system/nginx.service
    service "$1" clients "/bin/sh -c 'while sleep 0.1; do curl -s -o /dev/null -m 5 http://127.0.0.1:8080/items; done'"

    printf '%s\n' 'route: { receiver: nobody }' 'receivers: [{ name: nobody }]' >"$1/etc/prometheus/alertmanager.yml"
    echo 'ARGS="--cluster.listen-address="' >"$1/etc/default/prometheus-alertmanager"
    start "$1" /lib/systemd/system/prometheus-alertmanager.service

    cat >"$1/srv/chat.py" <<'END'
from http.server import BaseHTTPRequestHandler, HTTPServer
from json import loads


class Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        print(loads(self.rfile.read(int(self.headers["Content-Length"])))["text"], flush=True)
        self.send_response(204)
        self.end_headers()


HTTPServer(("127.0.0.1", 9099), Chat).serve_forever()
END
    service "$1" chat '/usr/bin/python3 /srv/chat.py' StandardOutput=append:/var/log/chat
}

# ---- three of them ----

printf '%s\n' '127.0.0.1 localhost' '192.0.2.10 hub' '192.0.2.11 app-1' '192.0.2.12 app-2' >"$work/names"
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
ip link set lo up
ip link add hosts type bridge && ip address add 192.0.2.1/24 dev hosts && ip link set hosts up
start_host app-1 192.0.2.11 app
start_host app-2 192.0.2.12 app
start_host hub 192.0.2.10 hub

# For the command `ssh hub` is all it takes, and nobody's own files are touched.
mkdir "$work/ssh"
printf '%s\n' 'Host hub app-1 app-2' 'User root' "IdentityFile $work/key" "UserKnownHostsFile $work/known" \
    'StrictHostKeyChecking accept-new' 'LogLevel ERROR' >"$work/ssh/hosts.conf"
mount --bind "$work/ssh" /etc/ssh/ssh_config.d
mount --bind "$work/names" /etc/hosts
"$@"
