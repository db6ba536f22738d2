# shellcheck shell=bash
# A minimal Debian in a folder, and commands in it. Sourced by the scripts beside it.
#
#   DEBIAN_SUITE    which one (default bookworm)
#   SNAPSHOT_CACHE  it is kept there as a tarball (default ~/.cache/snapshot-processor)

suite=${DEBIAN_SUITE:-bookworm}
cache=${SNAPSHOT_CACHE:-${HOME:-/root}/.cache/snapshot-processor}

die() {
    echo "${0##*/}: $1" >&2
    exit "${2:-1}"
}

say() { echo "${0##*/}: $*"; }

# inside FOLDER WORKING-FOLDER COMMAND
inside() {
    local proxies=() name path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
        NODE_EXTRA_CA_CERTS; do
        if [ -n "${!name:-}" ]; then proxies+=("$name=${!name}"); fi
    done
    # The shell that started us in the background made us deaf to Ctrl-C; the commands must not be.
    chroot "$1" /usr/bin/env -i --default-signal=INT,QUIT HOME=/root LANG=C.UTF-8 \
        TERM="${TERM:-dumb}" PATH=$path DEBIAN_FRONTEND=noninteractive "${proxies[@]}" \
        /bin/bash -c "cd $2 && $3"
}

unpack_base() {
    local folder=$1 base=$cache/debian-$suite-minbase.tar mirror
    if [ ! -f "$base" ]; then
        say "making a minimal Debian $suite"
        mirror=$(sources | sed -n "s/^deb \([^ ]*\) $suite .*/\1/p" | head -n 1)
        debootstrap --variant=minbase "$suite" "$folder" ${mirror:+"$mirror"} \
            >"$cache/debootstrap.log" 2>&1 ||
            die "debootstrap failed: $(tail -n 5 "$cache/debootstrap.log")"
        tar -C "$folder" --one-file-system --exclude='./var/cache/apt/archives/*.deb' \
            -cf "$base.$$" .
        mv "$base.$$" "$base"
    else
        tar -C "$folder" --numeric-owner -xpf "$base"
    fi
}

mount_system() {
    mount -t proc proc "$1/proc"
    mount -t sysfs -o ro sysfs "$1/sys"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$1/dev/pts"
    mkdir -p "$1/dev/shm"
    mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
}

# Debian's own package sources of this machine, as lines of a sources.list.
sources() {
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' 2>/dev/null | grep " $suite" | sort -u || true
}

pass_settings() {
    local folder=$1 key value settings
    cp /etc/resolv.conf /etc/hosts "$folder/etc/"
    if [ -n "$(sources)" ]; then sources >"$folder/etc/apt/sources.list"; fi
    settings=$(apt-config dump 2>/dev/null | grep -E '^Acquire::(Check-|https?::)' || true)
    echo "$settings" >"$folder/etc/apt/apt.conf.d/99host"
    # Nobody mourns a chroot that a power failure damages.
    echo force-unsafe-io >"$folder/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # Additional certificates: the bundle for now, the single ones for when ca-certificates is
    # installed.
    local single=/usr/local/share/ca-certificates
    mkdir -p "$folder/etc/ssl/certs" "$folder$single"
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/" 2>/dev/null || true
    cp -r $single/. "$folder$single/" 2>/dev/null || true
    if ! command -v npm >/dev/null; then return; fi
    for key in registry cafile proxy https-proxy noproxy; do
        value=$(npm config get $key --no-update-notifier 2>/dev/null)
        case $value in
        '' | null | undefined) ;;
        *) echo "$key=$value" >>"$folder/root/.npmrc" ;;
        esac
    done
}
