# shellcheck shell=bash
# What the tests and the benchmark of the FTP server set beside it and Debian does not install side
# by side. Sourced by tools/setup.

# ---- basic-ftp, the client that Node programs use, in .deps/basic-ftp ----

basic_ftp_package=basic-ftp@6.2.6
basic_ftp_integrity=sha512-0EjZCaodOz6yiokv2JA1VyKGNdGxULZ+GGlPgG9tm4d+T/bHtX1hUch8CumDneBfpIbiSdn7TaCGwpM+gwsOlw==
basic_ftp_files=(
    package.json LICENSE.txt
    dist/{Client,FileInfo,FtpContext,ProgressTracker,StringEncoding,StringWriter}.js
    dist/{TransferWatchdog,index,netUtils,parseControlResponse,parseList,parseListDOS}.js
    dist/{parseListMLSD,parseListUnix,safePathNames,transfer}.js
)

basic_ftp_ready() { [ "$(cat .deps/basic-ftp/stamp 2>/dev/null)" = "$basic_ftp_package" ]; }

basic_ftp_packages() { node_packages; echo openssl; }

basic_ftp_make() {
    local file pairs=() new=.deps/basic-ftp.new
    for file in "${basic_ftp_files[@]}"; do pairs+=("basic-ftp/$file=$file"); done
    npm_files "$basic_ftp_package" "$basic_ftp_integrity" "${pairs[@]}"
    did=1
    rm -rf $new
    mkdir -p $new/dist
    for file in "${basic_ftp_files[@]}"; do cp "$cache/basic-ftp/$file" "$new/$file"; done
    echo "$basic_ftp_package" >$new/stamp
    rm -rf .deps/basic-ftp
    mv $new .deps/basic-ftp
}

# ---- vsftpd and pure-ftpd, in .deps/ftp-servers ----
#
# Their packages exclude each other, and installing one makes this machine an FTP server. So the
# packages are only fetched (apt checks their signatures) and taken apart; the benchmark starts the
# programs itself, with files of its own. What they link to is among the bench packages.

ftp_servers=(vsftpd pure-ftpd)

ftp_servers_ready() {
    local name
    for name in "${ftp_servers[@]}"; do [ -x ".deps/ftp-servers/usr/sbin/$name" ] || return 1; done
}

ftp_servers_packages() { :; }

ftp_servers_make() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        say "this is no Debian, so the benchmark goes without ${ftp_servers[*]}"
        return
    fi
    did=1
    make_scratch
    if ! (cd "$scratch" && apt_get download "${ftp_servers[@]}") >"$scratch/log" 2>&1; then
        tail -n 5 "$scratch/log" >&2
        die "cannot download ${ftp_servers[*]} (apt's last lines are above); try: apt-get update"
    fi
    local new=.deps/ftp-servers.new package
    rm -rf $new
    mkdir -p $new
    for package in "$scratch"/*.deb; do dpkg-deb -x "$package" $new; done
    rm -rf "$scratch" .deps/ftp-servers
    mv $new .deps/ftp-servers
}
