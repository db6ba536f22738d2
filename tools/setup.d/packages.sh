# shellcheck shell=bash
# Debian packages. Sourced by tools/setup.

# cmocka is among them because Meson decides when it configures whether there are unit tests to
# build.
build_packages=(
    gcc libc6-dev make meson ninja-build pkg-config
    libzmq3-dev libsqlite3-dev libcurl4-openssl-dev libmicrohttpd-dev libgnutls28-dev libjansson-dev libmpack-dev
    libinih-dev libssl-dev zlib1g-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libgif-dev libcairo2-dev
    libexpat1-dev libsystemd-dev librabbitmq-dev libcrypt-dev libseccomp-dev libcmocka-dev fonts-dejavu-core ca-certificates
)

# clang's run-time library holds its sanitizers and libFuzzer. Their suppressions name functions, also
# of the C library, so they take a symbolizer (llvm) and that library's symbols. The tests use strace
# to make system calls fail, nginx and openssl for TLS as cameras' proxies speak it, Apache for its
# digest login (apache2-bin is the program without a service to start), pgrep of procps, a real
# RabbitMQ with a client that is not ours, AWS's own library, which judges our signatures, Google's own
# clients for Python, which check our Drive, Sentry's, which reads our reports, an FTP server that is not ours (with TLS by
# python3-openssl), a syslog daemon, for the manual pages and the completion man and the shells, and
# Prometheus's tools and parser, which judge our metrics, board and alerts.
# The Debian package is built, and installed in a chroot; systemd-analyze judges its unit.
test_packages=(
    clang clang-tidy clang-format libclang-rt-dev llvm libc6-dbg
    python3-pytest python3-yaml python3-numpy python3-pil python3-onnx python3-pyftpdlib python3-openssl
    nginx-light apache2-bin openssl strace procps git
    prometheus python3-prometheus-client rabbitmq-server python3-pika python3-u-msgpack python3-boto3 s3cmd
    python3-googleapi python3-google-auth python3-google-auth-httplib2 python3-httplib2
    python3-oauth2client python3-cryptography python3-sentry-sdk
    curl lftp ncftp tnftp inetutils-ftp rclone e2fsprogs mount
    rsyslog man-db zsh fish
    debhelper dpkg-dev fakeroot debootstrap systemd python3-yaml
)

# The browser of the tests of the pages, and a typeface for their pictures.
web_packages=(chromium fonts-inter python3-pil)

deb_packages=(debhelper dpkg-dev fakeroot)

# FTP servers to be measured against: one, and the libraries of those that ftp.sh only takes apart.
bench_packages=(
    python3-pil python3-pyftpdlib libcap2 libcrypt1 libpam0g libpam-modules libsodium23 libwrap0
    openssl procps
)

# Node made by somebody else than Debian is as good, from version 18.
node_packages() {
    local major
    major=$(node --version 2>/dev/null || true)
    major=${major#v}
    major=${major%%.*}
    [ "${major:-0}" -ge 18 ] || echo nodejs
    command -v npm >/dev/null || echo npm
}

wanted=()
want_package() { wanted+=("$1"); }

want_packages() {
    local group package
    for group; do
        local -n list=${group}_packages
        for package in "${list[@]}"; do want_package "$package"; done
    done
    # The tests run the converter of the default model.
    if [ "$group" = "test" ]; then
        for package in $(node_packages); do want_package "$package"; done
    fi
}

install_packages() {
    if [ "${SNAPSHOT_SKIP_PACKAGES:-0}" = 1 ] || [ ${#wanted[@]} = 0 ]; then return; fi
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this is no Debian, so packages are left to you; needed are the likes of: ${wanted[*]}"
        return
    fi
    local missing
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} = 0 ] && return
    if [ "$(id -u)" != 0 ]; then
        die "${#missing[@]} packages are missing; as root run:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
    did=1
    say "installing ${#missing[@]} packages: ${missing[*]}"
    local start=$SECONDS log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # A source that fails to update (a third party's, say) need not be one that we install from.
    apt_get update >"$log" 2>&1 || say "apt-get update had trouble, trying to go on"
    hold_services
    if ! apt_get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "apt-get install failed (its last lines are above)"
    fi
    rm -f "$log"
    release_services "${missing[@]}"
    say "packages are installed ($((SECONDS - start)) s)"
}

# Debian starts a server as soon as it is installed, and at every boot from then on. The tests start
# those that they need themselves, on ports of their own: nobody's machine shall serve the web for
# having run our tests. The policy file is what Debian's packages ask before they start a service
# (exit code 101: no).
policy=/usr/sbin/policy-rc.d
hold_services() {
    epmd_was_here=$(command -v epmd || true)
    if [ -e $policy ]; then return; fi
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    held=1
}

# release_services PACKAGE...: those just installed
release_services() {
    case " $* " in *' rsyslog '*) systemctl disable rsyslog.service >/dev/null 2>&1 || true ;; esac
    case " $* " in *' nginx-light '*) update-rc.d nginx disable >/dev/null 2>&1 || true ;; esac
    case " $* " in *' prometheus '*) update-rc.d prometheus disable >/dev/null 2>&1 || true ;; esac
    case " $* " in *' rabbitmq-server '*)
        update-rc.d rabbitmq-server disable >/dev/null 2>&1 || true
        # Erlang's port mapper came along; it has no script in init.d, only units.
        if [ -z "$epmd_was_here" ]; then
            systemctl disable epmd.service epmd.socket >/dev/null 2>&1 || true
        fi
        ;;
    esac
    if [ "${held:-0}" = 0 ]; then return; fi
    rm -f $policy
    trap - EXIT
}

# Another apt may be at work (a fresh machine updates itself): wait for its lock, not fail.
apt_get() { apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@"; }

# dpkg-query fails when it has never heard of one of them, which only means that it is missing.
missing_packages() {
    { dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true; } |
        sed -n 's/ installed$//p' | sort -u |
        comm -13 - <(printf '%s\n' "${wanted[@]}" | sort -u)
}
