# What the install scripts share; they source it. Things go into tests/.cache, one folder each, with a marker that holds the
# files they were installed from: another version is another marker. Quick where everything is there already.
# What cannot be installed is said in one line; the exit code is 0 all the same, unless CI=true.
cache=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/.cache
missing=0

# installed NAME FILE...: whether NAME was installed from exactly these files.
installed() {
    local marker=$cache/$1/.installed
    shift
    [ -f "$marker" ] && cat "$@" | cmp -s - "$marker"
}

# mark NAME FILE...: remembers what NAME was installed from.
mark() {
    local marker=$cache/$1/.installed
    shift
    cat "$@" >"$marker"
}

# cannot WHAT LOG: one line for people, with the last line of the installer.
cannot() {
    echo "cannot install $1, tests that need it are skipped: $(grep -v '^[[:space:]]*$' "$2" | tail -n 1)"
    missing=1
}

# finish: the script's exit code.
finish() {
    if [ "${CI:-}" = true ]; then exit "$missing"; fi
    exit 0
}

mkdir -p "$cache"
