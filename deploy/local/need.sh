#!/bin/sh
# Installs what is missing, and says so: need.sh redis|python|browser|proxies|peers|producers|deploy|watch|container
#
# Debian and Ubuntu through apt-get, macOS through Homebrew. Nothing that gets
# installed is started as a service.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)

say() { echo "need: $*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# apt_install PACKAGE…
apt_install() {
    # Debian starts a freshly installed server unless this policy says no. One
    # that is already there is the machine's own and stays.
    policy=/usr/sbin/policy-rc.d
    as_root sh -eu -c '
        policy=$1; shift
        if [ ! -e "$policy" ]; then
            trap "rm -f \"$policy\"" EXIT
            printf "#!/bin/sh\nexit 101\n" > "$policy"
            chmod 755 "$policy"
        fi
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$@"
    ' sh "$policy" "$@" > /dev/null
}

# install PROGRAM DEBIAN-PACKAGE HOMEBREW-NAME
install() {
    if command -v apt-get > /dev/null; then
        say "$1 is missing: installing $2 with apt-get"
        apt_install "$2"
    elif command -v brew > /dev/null; then
        say "$1 is missing: installing $3 with brew"
        brew install --quiet $3 > /dev/null
    else
        say "$1 is missing, and there is neither apt-get nor brew to install it with"
        exit 1
    fi
}

has_browser() {
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" > /dev/null; then return 0; fi
    done
    [ -d "/Applications/Google Chrome.app" ] || [ -d "/Applications/Chromium.app" ]
}

# npm_install FOLDER
npm_install() {
    command -v node > /dev/null || install node nodejs node
    command -v npm > /dev/null || install npm npm node
    installed=$root/$1/node_modules/.package-lock.json
    # Some shells do not count a file as newer than one that is not there.
    if [ ! -e "$installed" ] || [ "$root/$1/package-lock.json" -nt "$installed" ]; then
        say "fetching the npm packages of $1"
        npm ci --prefix "$root/$1" --silent --no-audit --no-fund
    fi
}

case "${1-}" in
redis)
    command -v redis-server > /dev/null || install redis-server redis-server redis
    ;;
python)
    command -v python3 > /dev/null || install python3 python3 python3
    ;;
browser)
    has_browser || install chromium chromium "--cask google-chrome"
    npm_install tests/clients
    ;;
producers)
    # What the programs of docs/events.md are written with.
    command -v python3 > /dev/null || install python3 python3 python3
    npm_install tests/clients
    venv=$root/target/producers
    if [ ! -x "$venv/bin/python3" ] || ! "$venv/bin/python3" -c 'import redis' 2> /dev/null; then
        say "fetching the Python client of Redis"
        # Debian keeps a part of venv in a package of its own.
        python3 -m venv "$venv" > /dev/null 2>&1 || { install python3-venv python3-venv python3; python3 -m venv "$venv"; }
        "$venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0
    fi
    ;;
deploy)
    # What `make deploy-check` asks: linters, schemas, and kubectl where it is missing.
    command -v promtool > /dev/null || install promtool prometheus prometheus
    npm_install deploy/check
    venv=$root/target/deploy/venv
    wanted=$root/deploy/check/requirements.txt
    if ! cmp -s "$wanted" "$venv/requirements.txt"; then
        say "fetching the Python packages of deploy/check"
        command -v python3 > /dev/null || install python3 python3 python3
        python3 -m venv "$venv" > /dev/null 2>&1 || { install python3-venv python3-venv python3; python3 -m venv "$venv"; }
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
        cp "$wanted" "$venv/requirements.txt"
    fi
    ;;
container)
    # What `make image-check` builds an image with, and runs it.
    command -v podman > /dev/null || install podman podman podman
    command -v runc > /dev/null || [ -x /usr/sbin/runc ] || install runc runc runc
    ;;
watch)
    # What `make watch-check` runs. Where there is no exporter, alerts about Redis are not looked at.
    command -v prometheus > /dev/null || install prometheus prometheus prometheus
    command -v prometheus-redis-exporter > /dev/null || ! command -v apt-get > /dev/null ||
        install prometheus-redis-exporter prometheus-redis-exporter redis_exporter
    ;;
peers)
    npm_install tests/bench/peers
    ;;
proxies)
    command -v nginx > /dev/null || [ -x /usr/sbin/nginx ] || install nginx nginx-light nginx
    command -v caddy > /dev/null || install caddy caddy caddy
    command -v haproxy > /dev/null || [ -x /usr/sbin/haproxy ] || install haproxy haproxy haproxy
    ;;
*)
    say "usage: need.sh redis|python|browser|proxies|peers|producers|deploy|watch|container"
    exit 2
    ;;
esac
