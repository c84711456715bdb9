#!/usr/bin/env bash
# Breaks a real application behind a real nginx in five ways, one after another, and prints what why502 says of each.
# Everything runs in namespaces of its own and is gone when this ends, also by Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
for program in cargo cc nginx node ip unshare; do
    command -v "$program" >/dev/null || missing="${missing:-} $program"
done
if [ -n "${missing:-}" ]; then
    echo "missing:$missing" >&2
    echo "on Debian: apt-get install --no-install-recommends gcc libc6-dev nginx nodejs iproute2 iptables util-linux" >&2
    exit 2
fi
echo "building..."
cargo build --quiet -p why502 -p why502-agent -p why502-tests --bins
exec target/debug/demo "$@"
