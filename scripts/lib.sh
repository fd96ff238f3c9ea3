# Shared by the scripts: sourced, not run. Finds what is missing and installs it where that is possible.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_packages COMMAND=PACKAGE...: installs the Debian packages of the commands that are missing.
need_packages() {
    local missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    install_packages "${missing[@]}"
}

# install_packages PACKAGE...: installs Debian packages, or says that they are missing.
install_packages() {
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        say "installing $*"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
    else
        die "please install these packages (Debian names) and start again: $*"
    fi
}

# need_libraries LIBRARY=PACKAGE...: what programs with the features of these libraries are built with (`pkg-config`).
need_libraries() {
    need_packages pkg-config=pkg-config
    for library in "$@"; do
        pkg-config --exists "${library%%=*}" || install_packages "${library#*=}"
    done
    compgen -G '/usr/lib/llvm-*/lib/libclang.so' >/dev/null || install_packages libclang-dev    # makes bindings to some of them
}

# need_node_modules FOLDER: installs what its lock file says.
need_node_modules() {
    # The lock file is copied beside the modules: where the two agree there is nothing to do.
    if ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock.json"; then
        say "installing the modules of ${1#"$root/"}"
        (cd "$1" && npm ci --no-progress --loglevel=error >&2)
        cp "$1/package-lock.json" "$1/node_modules/.installed-lock.json"
    fi
}

need_rust() {
    command -v cargo >/dev/null 2>&1 || die "Rust is missing: install the stable toolchain (rustup), then start again"
}
