#!/usr/bin/env bash
# Breaks a real application behind a real nginx in five ways, one after another, and prints what why502 says of each.
# Everything runs in namespaces of its own and is gone when this ends, also by Ctrl-C. As root on Debian it installs what is
# missing; otherwise it says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
needed=(cc:gcc cc:libc6-dev nginx:nginx node:nodejs ip:iproute2 iptables:iptables unshare:util-linux)
. tests/install.sh
install_missing || exit 2
command -v cargo >/dev/null || { echo "no Rust toolchain: install one from https://rustup.rs" >&2; exit 2; }
echo "building..."
cargo build --quiet -p why502 -p why502-agent -p why502-tests --bins
exec target/debug/demo "$@"
