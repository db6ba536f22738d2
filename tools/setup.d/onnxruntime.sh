# shellcheck shell=bash
# ONNX Runtime: C headers and the shared library, in .deps/onnxruntime. Sourced by tools/setup.
#
# Debian 12 has no package of it. The vendor's headers come in a package made for a game engine,
# which pairs them with the library 1.29; the vendor's own package for Node brings no headers, but
# the library 1.30 (for arm64 too), which runs the default model some 14 % faster on one core. The
# program opens the library with dlopen and asks for the API version of its headers, so a newer
# library than the headers is fine.

onnxruntime_headers=com.github.asus4.onnxruntime@0.4.9
onnxruntime_headers_integrity=sha512-BkzxduSZ9IkeDP6Q8lz2TFU2ie7hSSvS7ZIfzMooExoq0CNzJnuuGaUJ7IsojBgqO4ouD1jXah8OYyJbCN29Fg==
onnxruntime_library=onnxruntime-node@1.30.0
onnxruntime_library_integrity=sha512-twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw==

onnxruntime_texts=(
    include/onnxruntime_c_api.h include/onnxruntime_ep_c_api.h include/onnxruntime_error_code.h
    include/onnxruntime_run_options_config_keys.h include/onnxruntime_session_options_config_keys.h
    LICENSE ThirdPartyNotices.txt
)

case $(uname -m) in
x86_64) onnxruntime_machine=x64 ;;
aarch64) onnxruntime_machine=arm64 ;;
*) onnxruntime_machine= ;;
esac

onnxruntime_stamp() { echo "$onnxruntime_headers + $onnxruntime_library $onnxruntime_machine"; }

onnxruntime_ready() {
    local home=.deps/onnxruntime
    # Nothing to be had for other machines: the build leaves the local detector out.
    [ -n "$onnxruntime_machine" ] || return 0
    [ -f $home/lib/libonnxruntime.so ] && [ -f $home/include/onnxruntime_c_api.h ] &&
        [ "$(cat $home/stamp 2>/dev/null)" = "$(onnxruntime_stamp)" ]
}

onnxruntime_packages() { node_packages; echo openssl; }

onnxruntime_make() {
    local text library=onnxruntime/$onnxruntime_machine/libonnxruntime.so texts=()
    local headers=Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers
    for text in "${onnxruntime_texts[@]}"; do
        case $text in
        include/*) texts+=("onnxruntime/$text=$headers/${text#include/}") ;;
        *) texts+=("onnxruntime/$text=$text") ;;
        esac
    done
    npm_files "$onnxruntime_headers" "$onnxruntime_headers_integrity" "${texts[@]}"
    npm_files "$onnxruntime_library" "$onnxruntime_library_integrity" \
        "$library=bin/napi-v6/linux/$onnxruntime_machine/libonnxruntime.so.1"

    did=1
    local new=.deps/onnxruntime.new
    rm -rf $new
    mkdir -p $new/include $new/lib
    for text in "${onnxruntime_texts[@]}"; do cp "$cache/onnxruntime/$text" "$new/$text"; done
    cp "$cache/$library" $new/lib/
    onnxruntime_stamp >$new/stamp
    rm -rf .deps/onnxruntime
    mv $new .deps/onnxruntime
    say "ONNX Runtime is in .deps/onnxruntime"
}
