#!/usr/bin/env bash
# Builds the operator's image without a daemon, the same bytes each time and everywhere.
#
#   image.sh                 the program, its list of parts and its image, in target/image
#   image.sh reproduce       the same commit once more, from another folder: fails if the image is another
#   image.sh compile         the program alone; prints where it is
#   image.sh image PROGRAM TAR  the image around a program; prints its digest
#   image.sh sbom FILE       the crates the program is made of, as CycloneDX
#   image.sh pack CONTAINERFILE TAR NAME FOLDER [BUILDAH'S ARGUMENTS]
#                            any folder as an image in OCI's layout; prints its digest
#
#   IMAGE_TARGET             what to compile for; default: this machine, static
#   IMAGE_REVISION           what it was built from; default: the commit
#   SOURCE_DATE_EPOCH        the date of everything in the image; default: that of the commit
set -euo pipefail
shopt -s inherit_errexit

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET=${IMAGE_TARGET:-$(uname -m)-unknown-linux-gnu}
BUILT=${CARGO_TARGET_DIR:-$ROOT/target}
VERSION=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
REVISION=${IMAGE_REVISION:-$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)}
EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null || echo 0)}
NAME=localhost/touchseal-operator:$VERSION
WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/touchseal-image.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

main() {
    local command=${1:-build}
    shift || true
    case $command in
    build | compile | image | sbom | pack | reproduce) "$command" "$@" ;;
    *) echo "image: unknown command '$command'" >&2 && exit 2 ;;
    esac
}

build() {
    local folder=$BUILT/image program
    mkdir -p "$folder"
    program=$(compile)
    image "$program" "$folder/touchseal-operator.oci.tar" >"$folder/digest"
    sbom "$folder/touchseal-operator.cdx.json"
    echo "image: $NAME $(cat "$folder/digest")"
    echo "image: $(du -h --apparent-size "$folder/touchseal-operator.oci.tar" | cut -f1) in $folder"
}

# The operator's image around a program: image PROGRAM TAR
image() {
    mkdir "$WORK/files"
    install -m 755 "$1" "$WORK/files/touchseal-operator"
    install -m 644 "$ROOT/LICENSE" "$WORK/files/LICENSE"
    pack "$ROOT/operator/image/Containerfile" "$2" "$NAME" "$WORK/files" \
        --arch "$(case $TARGET in aarch64*) echo arm64 ;; *) echo amd64 ;; esac)" \
        --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION"
}

# No path of this machine gets into the program: neither into messages of panics nor into those of C.
compile() {
    local cargo=${CARGO_HOME:-$HOME/.cargo} upper=${TARGET^^}
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    # For another machine's processor, with Debian's compiler for it.
    [[ ${TARGET%%-*} == "$(uname -m)" ]] || export "CARGO_TARGET_${upper//-/_}_LINKER=${TARGET%%-*}-linux-gnu-gcc"
    # Nodes of that architecture may have pages of up to 64 KiB.
    [[ $TARGET != aarch64* ]] || export JEMALLOC_SYS_WITH_LG_PAGE=16
    env "TOUCHSEAL_REVISION=$REVISION" \
        "CARGO_TARGET_${upper//-/_}_RUSTFLAGS=-C target-feature=+crt-static --remap-path-prefix=$ROOT=/touchseal --remap-path-prefix=$cargo=/cargo" \
        "CFLAGS_${TARGET//-/_}=-ffile-prefix-map=$cargo=/cargo -ffile-prefix-map=$BUILT=/target" \
        cargo build --config "$ROOT/.cargo/config.toml" --manifest-path "$ROOT/Cargo.toml" --target-dir "$BUILT" --locked --quiet --release --target "$TARGET" \
        --package touchseal-controller --bin touchseal-operator
    echo "$BUILT/$TARGET/release/touchseal-operator"
}

# cargo-cyclonedx writes beside every manifest of the workspace, so it works on a copy.
sbom() {
    mkdir "$WORK/sources"
    tar -C "$ROOT" --exclude=target -c Cargo.toml Cargo.lock crds operator tests | tar -C "$WORK/sources" -x
    PATH="$ROOT/.cache/tools/bin:$PATH" SOURCE_DATE_EPOCH=$EPOCH \
        cargo cyclonedx --quiet --manifest-path "$WORK/sources/operator/controller/Cargo.toml" --target "$TARGET" \
        --format json --spec-version 1.5 --override-filename sbom
    sed "s|$WORK/sources|/touchseal|g" "$WORK/sources/operator/controller/sbom.json" >"$1"
}

pack() {
    local containerfile=$1 tar=$2 name=$3 folder=$4 store=$WORK/store
    shift 4
    local buildah=(buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs)
    rm -f "$tar"
    "${buildah[@]}" bud --quiet --isolation chroot --timestamp "$EPOCH" --file "$containerfile" --tag "$name" "$@" "$folder" >/dev/null
    "${buildah[@]}" push --quiet --format oci --digestfile "$store/digest" "$name" "oci-archive:$tar:$name"
    cat "$store/digest"
}

# What is committed, built from nothing in another folder.
reproduce() {
    local copy first second
    git -C "$ROOT" diff --quiet HEAD || { echo "image: commit first, another folder gets what is committed" >&2 && exit 1; }
    build
    first=$(cat "$BUILT/image/digest")
    copy=$WORK/another-place
    git clone --quiet --no-checkout "$ROOT" "$copy/clone"
    git -C "$copy/clone" -c advice.detachedHead=false checkout --quiet "$REVISION"
    ln -s "$ROOT/.cache" "$copy/clone/.cache"
    CARGO_TARGET_DIR=$copy/built "$copy/clone/operator/image/image.sh"
    second=$(cat "$copy/built/image/digest")
    [[ $first == "$second" ]] || { echo "image: $first here, $second elsewhere" >&2 && exit 1; }
    echo "image: the same from two folders: $first"
}

main "$@"; exit # read as one line, so this file may change while it runs
