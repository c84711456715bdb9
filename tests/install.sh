# What demo and tests need of Debian's packages; sourced with `needed` set to program:package pairs.

missing_packages() {
    local pair missing=()
    for pair in "${needed[@]}"; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
    done
    echo "${missing[*]}"
}

# Debian starts what it installs; the lab starts its own, so nothing else may run or hold a port.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d own=0 status
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && own=1
    fi
    { apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } >/tmp/why502-apt.log 2>&1
    status=$?
    [ "$own" = 1 ] && rm -f "$policy"
    [ "$status" = 0 ] || tail -20 /tmp/why502-apt.log >&2
    return "$status"
}

# As root on Debian installs what is missing; what is missing then is told. Fails where something is.
install_missing() {
    local missing
    read -r -a missing <<<"$(missing_packages)"
    if [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing: ${missing[*]}"
        install_quietly "${missing[@]}" || echo "could not install everything" >&2
        read -r -a missing <<<"$(missing_packages)"
    fi
    [ "${#missing[@]}" = 0 ] && return 0
    echo "still missing; install with: apt-get install --no-install-recommends ${missing[*]}" >&2
    return 1
}
