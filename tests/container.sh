#!/usr/bin/env bash
# An image from scratch, built by the real buildah of a static program, and run: tests/container.sh agent|collector FOLDER OF PROGRAMS.
# Exit 77: it can't be done here.
set -euo pipefail
cd "$(dirname "$0")/.."
image=$1 programs=$2
fail() { echo "FAILED: $1" >&2; exit 1; }

case $image in
    agent) program=why502-agent files=usr/bin/why502-agent ;;
    collector) program=why502 files='etc/ssl/certs/ca-certificates.crt usr/bin/why502' ;;
esac
command -v buildah >/dev/null || { echo "there is no buildah" >&2; exit 77; }
file -b "$programs/$program" 2>/dev/null | grep -q 'static' || { echo "$programs has no static $program" >&2; exit 77; }

# Images and containers go with this folder.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' "$work" "$work" >"$CONTAINERS_STORAGE_CONF"
buildah images >/dev/null 2>"$work/log" || { cat "$work/log" >&2; echo "buildah can't keep images here" >&2; exit 77; }

deploy/container/build.sh --programs "$programs" "$image" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "the image does not build"; }
version=$("$programs/$program" --version)
container=$(buildah from "$program:${version##* }")
inside=$(cd "$(buildah mount "$container")" && find . -type f -printf '%P\n' | sort | xargs)
[ "$inside" = "$files" ] || fail "the image has $inside, not $files"
[ "$(buildah run "$container" -- "/usr/bin/$program" --version)" = "$version" ] || fail "the program does not run in its image"
echo "image of the $image: $inside, runs"
