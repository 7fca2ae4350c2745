#!/usr/bin/env bash
# Builds the command line as one static program for Linux, in target/static/touchseal; see README.md here.
#
#   build.sh                the program; prints where it is
#   build.sh check PROGRAM  whether a program runs without anything of the machine it is on; if not, what it asks for
#
#   PCSC_SOURCE   pcsc-lite's source, if it is on this machine already; default: fetched
set -euo pipefail
shopt -s inherit_errexit

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
TARGET=$(uname -m)-unknown-linux-musl
BUILT=${CARGO_TARGET_DIR:-$ROOT/target}
# The part of pcsc-lite that talks to pcscd is linked in. README.md says which pcscd it fits.
VERSION=2.5.2
SHA256=60a08942d8c00a1d86a3bf4c64eddbf7a5569c7c54f6904e3f07801bb5316acd

main() {
    case ${1:-build} in
    build) build ;;
    check) check "${2:?check which program?}" ;;
    *) die "unknown command '$1'" ;;
    esac
}

# As in the operator's image, no path of this machine gets into the program.
build() {
    local library upper=${TARGET^^} cargo=${CARGO_HOME:-$HOME/.cargo} program=$BUILT/static/touchseal
    [[ -d $(rustc --print target-libdir --target "$TARGET") ]] || rustup --quiet target add "$TARGET" >&2
    library=$(pcsc)
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    env "PCSC_LIB_DIR=$library" PCSC_LIB_NAME=static=pcsclite \
        "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=--remap-path-prefix=$ROOT=/touchseal --remap-path-prefix=$cargo=/cargo" \
        "CC_${TARGET//-/_}=musl-gcc" "CFLAGS_${TARGET//-/_}=-ffile-prefix-map=$cargo=/cargo -ffile-prefix-map=$BUILT=/target" \
        cargo build --manifest-path "$ROOT/Cargo.toml" --target-dir "$BUILT" --locked --quiet --release --target "$TARGET" \
        --package touchseal-cli --bin touchseal >&2
    install -D -m 755 "$BUILT/$TARGET/release/touchseal" "$program"
    check "$program"
    echo "$program"
}

# Neither a loader nor a library is looked for when it starts.
check() {
    local asked
    asked=$(readelf --program-headers --dynamic --wide "$1" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p; s/.*(NEEDED).*\[\(.*\)\]/\1/p')
    [[ -z $asked ]] || die "$1 is not static, it asks for" $asked
}

# Prints the folder of libpcsclite.a. Of the service nothing is built, so it needs none of its libraries.
pcsc() {
    local folder=$BUILT/static/pcsc-$VERSION-$TARGET work=$BUILT/static/work
    if [[ ! -f $folder/libpcsclite.a ]]; then
        rm -rf "$work" && mkdir -p "$work" "$folder"
        source_of_pcsc "$work/source.tar.xz"
        tar -C "$work" -xf "$work/source.tar.xz"
        {
            CC=musl-gcc CFLAGS="-O2 -ffile-prefix-map=$work=/pcsc" meson setup -Ddefault_library=static -Dlibsystemd=false \
                -Dlibudev=false -Dpolkit=false -Dusb=false -Dserial=false "$work/built" "$work/pcsc-lite-$VERSION" &&
                ninja -C "$work/built" libpcsclite.a
        } >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2 && die "pcsc-lite $VERSION does not build"; }
        cp "$work/built/libpcsclite.a" "$folder"
        rm -rf "$work"
    fi
    echo "$folder"
}

# From its author, or from the folder in Debian's archive that this machine would fetch the package from: the same bytes.
source_of_pcsc() {
    local name=pcsc-lite-$VERSION.tar.xz archive
    if [[ -n ${PCSC_SOURCE:-} ]]; then
        cp "$PCSC_SOURCE" "$1"
    elif ! curl --fail --silent --show-error --location --max-time 60 --output "$1" "https://pcsclite.apdu.fr/files/$name"; then
        archive=$(apt-get download --print-uris libpcsclite-dev | sed "s|^'\(.*\)/[^/]*' .*|\1|") || archive=
        /usr/lib/apt/apt-helper download-file "$archive/pcsc-lite_$VERSION.orig.tar.xz" "$1" "SHA256:$SHA256" >&2 ||
            die "neither its author nor Debian gives pcsc-lite's source now: fetch $name, and name it in PCSC_SOURCE"
    fi
    echo "$SHA256  $1" | sha256sum --check --quiet >&2 || die "this is not the source of pcsc-lite $VERSION"
}

die() {
    echo "static: $*" >&2
    exit 1
}

main "$@"; exit # read as one line, so this file may change while it runs
