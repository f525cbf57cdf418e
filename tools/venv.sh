#!/usr/bin/env bash
# Makes .venv and installs the package into it; with --developer also what lint and the tests need,
# with --measuring what load tests and benchmarks need, with --documenting what the documentation's site needs.
set -euo pipefail
cd "$(dirname "$0")/.."

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
    echo "ScaiQueue needs Python 3.11 or newer; set PYTHON to one, for instance: make run PYTHON=/opt/python3.12/bin/python3" >&2
    exit 1
}

if ! { [ -x .venv/bin/python ] && fits .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    python=$(find_python)
    rm -rf .venv
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        rm -rf .venv
        echo "$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
pip() { .venv/bin/python -m pip -qq "$@"; }

# Dependency groups need pip 25.1.
pip install --upgrade 'pip>=25.1'
if [ "${1:-}" = --developer ]; then
    echo "installing what lint and the tests need" >&2
    pip install --editable . --group dev
    for folder in tools/lua tests/direct/node; do
        (export PATH="$PWD/.venv/bin:$PATH" && cd "$folder" && npm ci --silent --no-audit --no-fund)
    done
elif [ "${1:-}" = --measuring ]; then
    echo "installing what measurements need" >&2
    pip install --editable . --group load
elif [ "${1:-}" = --documenting ]; then
    echo "installing what the documentation's site needs" >&2
    pip install --group docs
else
    echo "installing ScaiQueue into .venv" >&2
    pip install --editable .
fi
