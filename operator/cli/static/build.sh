#!/usr/bin/env bash
# Builds the command line as one static program for Linux, in target/static/touchseal; see README.md here.
#
#   build.sh        the program; prints where it is
#   build.sh pcsc   the smart card library alone, to be linked into it
#
#   STATIC_TARGET   what to compile for; default: this machine
set -euo pipefail
shopt -s inherit_errexit

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
TARGET=${STATIC_TARGET:-$(uname -m)-unknown-linux-gnu}
BUILT=${CARGO_TARGET_DIR:-$ROOT/target}
# The part of pcsc-lite that talks to pcscd, as its author released it. README.md says which pcscd it fits.
VERSION=2.5.2
SOURCES=(
    "https://pcsclite.apdu.fr/files/pcsc-lite-$VERSION.tar.xz"
    "http://deb.debian.org/debian/pool/main/p/pcsc-lite/pcsc-lite_$VERSION.orig.tar.xz"
)
SHA256=60a08942d8c00a1d86a3bf4c64eddbf7a5569c7c54f6904e3f07801bb5316acd

main() {
    case ${1:-build} in
    build | pcsc) "${1:-build}" ;;
    *) echo "static: unknown command '$1'" >&2 && exit 2 ;;
    esac
}

build() {
    local library upper=${TARGET^^} program
    library=$(pcsc)
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    env "PCSC_LIB_DIR=$library" PCSC_LIB_NAME=static=pcsclite \
        "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=-C target-feature=+crt-static" \
        cargo build --manifest-path "$ROOT/Cargo.toml" --target-dir "$BUILT" --locked --quiet --release --target "$TARGET" \
        --package touchseal-cli --bin touchseal >&2
    program=$BUILT/static/touchseal
    install -D -m 755 "$BUILT/$TARGET/release/touchseal" "$program"
    is_static "$program" || { echo "static: $program asks for libraries" >&2 && exit 1; }
    echo "$program"
}

# No program interpreter, and no library to be found when it starts.
is_static() {
    ! readelf --program-headers --dynamic --wide "$1" | grep -Eq 'INTERP|\(NEEDED\)'
}

# Prints the folder of libpcsclite.a.
pcsc() {
    local folder=$BUILT/static/pcsc-$VERSION-$TARGET work=$BUILT/static/work
    if [[ ! -f $folder/libpcsclite.a ]]; then
        rm -rf "$work" && mkdir -p "$work" "$folder"
        fetch "$work/source.tar.xz"
        tar -C "$work" -xf "$work/source.tar.xz"
        # Of the service nothing is built, so it needs none of its libraries.
        {
            meson setup -Ddefault_library=static -Dlibsystemd=false -Dlibudev=false -Dpolkit=false -Dusb=false -Dserial=false \
                "$work/built" "$work/pcsc-lite-$VERSION" && ninja -C "$work/built" libpcsclite.a
        } >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2 && exit 1; }
        cp "$work/built/libpcsclite.a" "$folder"
        rm -rf "$work"
    fi
    echo "$folder"
}

# One of the places may be out of reach; what comes from either is the same.
fetch() {
    local source
    for source in "${SOURCES[@]}"; do
        curl --fail --silent --location --max-time 60 --output "$1" "$source" || continue
        echo "$SHA256  $1" | sha256sum --check --quiet && return
    done
    echo "static: pcsc-lite $VERSION could not be fetched from ${SOURCES[*]}" >&2
    exit 1
}

main "$@"; exit # read as one line, so this file may change while it runs
