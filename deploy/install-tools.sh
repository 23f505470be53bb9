#!/usr/bin/env bash
# Installs what building and testing need on Debian or Ubuntu. Run it as often as you like: what is
# there stays untouched. It asks nothing, uses sudo when it isn't root, and ends with a clear line
# and status 1 when something can't be had: a missing tool is an error, never a skipped test.
#
#   deploy/install-tools.sh build    compilers, Node.js (checked), what `make run` needs
#   deploy/install-tools.sh test     also Chromium, PostgreSQL, network namespaces (checked), cargo-nextest, cargo-deny
#   deploy/install-tools.sh firefox  also Firefox
#   deploy/install-tools.sh fuzz     also cargo-fuzz
#   deploy/install-tools.sh stacks   also ffmpeg, GStreamer, and aiortc in a Python environment in .tools/
#   deploy/install-tools.sh beside   also Janus, strace and curl; the package starts a Janus of its own where there is systemd
#   deploy/install-tools.sh api      also coturn, and schemathesis in a Python environment in .tools/
#   deploy/install-tools.sh media    also ffmpeg, libvpx and libaom, nftables; TUN interfaces (checked)
set -euo pipefail

# The versions the project is checked with; a newer one that is already installed is accepted.
readonly NEXTEST=0.9.143 DENY=0.20.2 FUZZ=0.13.2
readonly AIORTC=1.16.0 SCHEMATHESIS=4.32.5
readonly RUST_MIN=1.95.0 NODE_MIN=20.19.0

die() {
    printf 'install-tools: %s\n' "$*" >&2
    exit 1
}

say() { printf 'install-tools: %s\n' "$*"; }

have() { command -v "$1" >/dev/null 2>&1; }

# at_least FOUND WANTED: whether the version FOUND is WANTED or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "not root and no sudo: run as root: $*"
    fi
}

apt_updated=no
apt_update() {
    [ $apt_updated = no ] || return 0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null >/dev/null || die "apt-get update failed; $1"
    apt_updated=yes
}

apt_install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "no apt-get here; install by hand: ${missing[*]}"
    say "apt-get install ${missing[*]}"
    apt_update "these packages are needed: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
}

rust() {
    have cargo || die "no cargo: install Rust $RUST_MIN or newer (https://rustup.rs)"
    have rustc || die "no rustc: install Rust $RUST_MIN or newer (https://rustup.rs)"
    local version
    version=$(rustc --version | cut -d' ' -f2)
    at_least "${version%%-*}" "$RUST_MIN" || die "rustc $version is too old, $RUST_MIN or newer is needed"
}

node() {
    have node || die "no node: install Node.js $NODE_MIN or newer (https://nodejs.org)"
    have npm || die "no npm: install Node.js $NODE_MIN or newer with npm"
    local version
    version=$(command node --version)
    at_least "${version#v}" "$NODE_MIN" || die "node $version is too old, $NODE_MIN or newer is needed"
}

# cargo_tool NAME WANTED: a cargo subcommand from source. Minutes on a small machine, once.
cargo_tool() {
    local name=$1 wanted=$2 found=''
    if have "cargo-$name"; then
        found=$("cargo-$name" "$name" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1) || true
        if [ -n "$found" ] && at_least "$found" "$wanted"; then
            return 0
        fi
        say "cargo-$name ${found:-of unknown version} is older than $wanted"
    fi
    say "cargo install cargo-$name $wanted (compiles; 2 to 8 minutes on two cores)"
    # Its own target folder: the project's lints and profiles don't apply to a tool.
    env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install --locked --quiet --force \
        --version "$wanted" "cargo-$name" </dev/null ||
        die "cargo-$name $wanted could not be built"
}

build_tools() {
    apt_install build-essential ca-certificates git pkg-config
    rust
    node
}

test_tools() {
    build_tools
    for component in rustfmt clippy; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 ||
            die "no $component: rustup component add $component"
    done
    apt_install iproute2 util-linux
    as_root unshare --net --pid --fork --mount-proc true ||
        die "no network namespaces here: a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
    chromium_tools
    apt_install postgresql
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || die "the package postgresql gave no initdb"
    cargo_tool nextest $NEXTEST
    cargo_tool deny $DENY
}

# Ubuntu's packages of browsers are snaps, which don't run in network namespaces and containers: there they come from
# who makes them.
has_package() {
    apt_update "this package is looked for: $1"
    [ -n "$(apt-cache --quiet=0 show "$1" 2>/dev/null)" ]
}

fetch() {
    apt_install curl
    say "download $1"
    curl --fail --silent --show-error --location --output "$2" "$1" || die "no download of $1; $3"
}

chromium_tools() {
    if [ -n "${KALL_CHROMIUM:-}" ]; then
        [ -x "$KALL_CHROMIUM" ] || die "KALL_CHROMIUM=$KALL_CHROMIUM is no program"
        return 0
    fi
    if [ -x /usr/bin/chromium ] || [ -x /usr/bin/google-chrome ]; then
        return 0
    fi
    if has_package chromium; then
        apt_install chromium
        [ -x /usr/bin/chromium ] || die "the package chromium gave no /usr/bin/chromium"
        return 0
    fi
    local folder
    folder=$(mktemp --directory)
    chmod 755 "$folder"
    fetch https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb "$folder/chrome.deb" \
        "set KALL_CHROMIUM to a Chromium that is no snap"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$folder/chrome.deb" </dev/null >/dev/null ||
        die "apt-get could not install Google Chrome"
    rm -r "$folder"
}

# Driven by WebDriver BiDi, which is in the browser: there is no driver to install.
firefox_tools() {
    test_tools
    if [ -n "${KALL_FIREFOX:-}" ]; then
        [ -x "$KALL_FIREFOX" ] || die "KALL_FIREFOX=$KALL_FIREFOX is no program"
        return 0
    fi
    local folder
    folder=$(cd "$(dirname "$0")/.." && pwd)/.tools
    if [ -x /usr/bin/firefox-esr ] || [ -x "$folder/firefox/firefox" ]; then
        return 0
    fi
    if has_package firefox-esr; then
        apt_install firefox-esr
        [ -x /usr/bin/firefox-esr ] || die "the package firefox-esr gave no /usr/bin/firefox-esr"
        return 0
    fi
    mkdir -p "$folder"
    apt_install xz-utils libgtk-3-0 libdbus-glib-1-2 libasound2t64
    fetch 'https://download.mozilla.org/?product=firefox-esr-latest-ssl&os=linux64&lang=en-US' "$folder/firefox.tar.xz" \
        "set KALL_FIREFOX to a Firefox that is no snap"
    tar --extract --xz --directory "$folder" --file "$folder/firefox.tar.xz"
    rm "$folder/firefox.tar.xz"
}

api_tools() {
    build_tools
    apt_install coturn python3 python3-venv
    have turnserver || die "the package coturn gave no turnserver"
    local folder
    folder=$(cd "$(dirname "$0")/.." && pwd)/.tools/api
    if ! "$folder/bin/schemathesis" --version 2>/dev/null | grep -qF "$SCHEMATHESIS"; then
        say "pip install schemathesis $SCHEMATHESIS"
        python3 -m venv --clear "$folder" || die "no Python environment in $folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS" </dev/null ||
            die "schemathesis $SCHEMATHESIS could not be installed"
    fi
}

media_tools() {
    test_tools
    # The libraries are for encoders of layers in one stream, which ffmpeg's are not.
    apt_install ffmpeg libaom-dev libvpx-dev nftables
    have ffmpeg || die "the package ffmpeg gave no ffmpeg command"
    as_root unshare --net nft add table inet probe ||
        die "no nftables here: the kernel needs the module nf_tables"
    [ -c /dev/net/tun ] || die "no /dev/net/tun: load the module tun, or give the device to the container"
}

beside_tools() {
    build_tools
    apt_install curl iproute2 janus strace util-linux
    have janus || die "the package janus gave no janus command"
    as_root unshare --net true || die "no network namespaces here: a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
}

stacks_tools() {
    test_tools
    apt_install ffmpeg gir1.2-gst-plugins-bad-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-libav \
        gstreamer1.0-nice gstreamer1.0-plugins-bad gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-ugly gstreamer1.0-tools python3 python3-gi python3-gst-1.0 python3-venv
    local element
    for element in webrtcbin nicesrc vp8enc vp9enc x264enc opusenc; do
        gst-inspect-1.0 "$element" >/dev/null 2>&1 || die "the GStreamer packages gave no $element"
    done
    local folder
    folder=$(cd "$(dirname "$0")/.." && pwd)/.tools/stacks
    if ! "$folder/bin/python" -c "import aiortc; assert aiortc.__version__ == '$AIORTC'" 2>/dev/null; then
        say "pip install aiortc $AIORTC"
        /usr/bin/python3 -m venv --clear "$folder" || die "no Python environment in $folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "aiortc==$AIORTC" </dev/null ||
            die "aiortc $AIORTC could not be installed"
    fi
}

PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
case "${1:-test}" in
build) build_tools ;;
test) test_tools ;;
fuzz)
    build_tools
    cargo_tool fuzz $FUZZ
    ;;
firefox) firefox_tools ;;
media) media_tools ;;
stacks) stacks_tools ;;
api) api_tools ;;
beside) beside_tools ;;
*) die "unknown set '$1': build, test, firefox, fuzz, media, stacks, api or beside" ;;
esac
