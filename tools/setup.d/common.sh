# shellcheck shell=bash
# What tools/setup and tools/footage share. Sourced, in the repository's root.

cache=${SNAPSHOT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/snapshot-processor}
did=0 # becomes 1 with the first thing that is really done

say() { echo "setup: $*"; }

die() {
    echo "setup: $1" >&2
    exit "${2:-1}"
}

# pin[PATH] = SHA-256 of a file that we fetch or make. PATH is relative to the cache, or to the
# repository for what is made.
declare -A pin
while read -r digest path; do
    case $digest in '' | '#'*) ;; *) pin[$path]=$digest ;; esac
done <tools/setup.d/pins.sha256

# intact FOLDER PATH...: is every PATH below FOLDER there, with its pinned digest?
intact() {
    local folder=$1 path
    shift
    for path; do
        [ -f "$folder/$path" ] || return 1
        echo "${pin[$path]}  $folder/$path"
    done | sha256sum --check --status 2>/dev/null
}

# A folder for unfinished things, on the file system of the cache so that a rename publishes them.
make_scratch() {
    mkdir -p "$cache" ||
        die "cannot make the folder $cache: set SNAPSHOT_CACHE to one that you may write"
    # What a run left behind that was killed outright.
    find "$cache" -maxdepth 1 -name 'unfinished.*' -mmin +120 -exec rm -rf {} +
    scratch=$(mktemp -d "$cache/unfinished.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# publish SCRATCHED PATH: moves a finished file into the cache in one step.
publish() {
    mkdir -p "$cache/$(dirname "$2")"
    mv -f "$1" "$cache/$2"
}
