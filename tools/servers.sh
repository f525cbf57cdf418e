#!/usr/bin/env bash
# Installs the servers and tools that the tests need and pip cannot bring, if they are missing and it may;
# says what to install if it may not.
set -euo pipefail
PATH="$PATH:/usr/sbin:/usr/local/sbin"

has() { command -v "$1" >/dev/null 2>&1; }

missing_debian=()
missing_brew=()
need() { # program, Debian packages, Homebrew formula
    local program
    for program in ${1//|/ }; do
        if has "$program"; then return; fi
    done
    # shellcheck disable=SC2206
    missing_debian+=($2)
    missing_brew+=("$3")
}
need redis-server redis-server redis
need "mariadbd|mysqld" "mariadb-server-core mariadb-client-core" mariadb
need "mariadb-install-db|mysql_install_db" mariadb-server-core mariadb
need "mariadb|mysql" mariadb-client-core mariadb
need luacheck lua-check luacheck
need curl curl curl

if [ ${#missing_debian[@]} -eq 0 ]; then exit 0; fi
# shellcheck disable=SC2207
missing_debian=($(printf '%s\n' "${missing_debian[@]}" | sort -u))
# shellcheck disable=SC2207
missing_brew=($(printf '%s\n' "${missing_brew[@]}" | sort -u))

if has apt-get; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then root=(sudo -n); fi
    if [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; then
        echo "installing ${missing_debian[*]}" >&2
        export DEBIAN_FRONTEND=noninteractive
        ${root[@]+"${root[@]}"} apt-get update -qq >&2
        ${root[@]+"${root[@]}"} apt-get install -y -qq --no-install-recommends "${missing_debian[@]}" </dev/null >&2
        exit 0
    fi
    echo "The tests need some programs that are not installed. As root: apt-get install ${missing_debian[*]}" >&2
    exit 1
fi
if has brew; then
    echo "installing ${missing_brew[*]}" >&2
    brew install --quiet "${missing_brew[@]}" >&2
    exit 0
fi
echo "The tests need redis-server 7.0+, MariaDB 10.11+ (server and client), luacheck and curl." >&2
echo "Missing here (Debian's names): ${missing_debian[*]}. Install them, then run this again." >&2
exit 1
