#!/usr/bin/env bash
# Make sure that the machine has what no Python package brings.
#   bootstrap.sh python   Python 3.11 that can make virtual environments ($PYTHON names it)
#   bootstrap.sh java     Java 17 and Maven
# Installs with apt-get when run as root, otherwise prints the line to run and fails.
set -euo pipefail

is_java_17() { [[ -x "$1" ]] && "$1" -version 2>&1 | grep -q 'version "17'; }

has_java_17() {
    local java
    if [[ -n "${JAVA_HOME:-}" ]]; then
        is_java_17 "$JAVA_HOME/bin/java" && return
        echo "JAVA_HOME is $JAVA_HOME, which holds no Java 17: point it at one, or unset it." >&2
        exit 1
    fi
    for java in "$(command -v java || true)" /usr/lib/jvm/*17*/bin/java; do
        is_java_17 "$java" && return
    done
    return 1
}

can_make_venv() { "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

install_packages() {
    local line="apt-get update && apt-get install -y $*"
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        [[ $(id -u) -eq 0 ]] || line="sudo sh -c '$line'"
        printf 'Missing on this machine: %s. Run this, then the same command again:\n    %s\n' "$*" "$line" >&2
        exit 1
    fi
    echo "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends "$@"
}

case "${1:-}" in
python)
    PYTHON=${PYTHON:-python3.11}
    can_make_venv || install_packages python3.11 python3.11-venv
    ;;
java)
    missing=()
    has_java_17 || missing+=(openjdk-17-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    [[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}"
    ;;
*)
    echo "usage: $0 python|java" >&2
    exit 2
    ;;
esac
