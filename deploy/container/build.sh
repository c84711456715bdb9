#!/usr/bin/env bash
# Builds the images why502-agent and why502 from scratch, of static programs, with buildah, podman or docker.
#
#   deploy/container/build.sh [--prefix REGISTRY/] [agent|collector]     default: both, without a registry in the name
#   deploy/container/build.sh --programs FOLDER ...                      of programs that are built already
set -euo pipefail
cd "$(dirname "$0")/../.."

prefix='' programs=''
images=(agent collector)
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) prefix=${2:?--prefix needs a registry}; shift ;;
        --programs) programs=${2:?--programs needs a folder}; shift ;;
        agent | collector) images=("$1") ;;
        -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "deploy/container/build.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
    esac
    shift
done
builder=$(command -v buildah || command -v podman || command -v docker) ||
    { echo "deploy/container/build.sh: install buildah, podman or docker" >&2; exit 1; }

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
target=$(uname -m)-unknown-linux-gnu
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
for image in "${images[@]}"; do
    case $image in agent) program=why502-agent ;; collector) program=why502 ;; esac
    [ -n "$programs" ] || RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release -p "$program" --target "$target"
    install -s "${programs:-target/$target/release}/$program" "$context/$program"
    [ "$image" = agent ] || install -m 0644 /etc/ssl/certs/ca-certificates.crt "$context/ca-certificates.crt"
    "$builder" build --file "deploy/container/$image.Containerfile" --tag "$prefix$program:$version" "$context"
done
