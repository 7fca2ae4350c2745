#!/usr/bin/env bash
# Whether the command line compiles for the systems of administrators' laptops: cargo's check, which links nothing and runs nothing.
#
#   cross.sh [TARGET...]   default: macOS on both processors, and Windows
#
# The standard libraries of these targets come with rustup. Compilers for their C do not: what C there is (in ring) is not
# compiled, an empty file stands in for each of its objects. What this says is therefore of the Rust code alone.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STAND_IN=$(mktemp -d)
trap 'rm -rf "$STAND_IN"' EXIT
TARGETS=("$@")
((${#TARGETS[@]})) || TARGETS=(aarch64-apple-darwin x86_64-apple-darwin x86_64-pc-windows-gnu)

main() {
    local target name
    printf '#!/bin/bash\n%s\n' 'while (($#)); do [[ $1 == -o ]] && : >"$2"; shift; done' >"$STAND_IN/cc"
    printf '#!/bin/bash\n%s\n' 'for each; do [[ $each == *.a ]] && : >"$each"; done; exit 0' >"$STAND_IN/ar"
    chmod +x "$STAND_IN"/*
    for target in "${TARGETS[@]}"; do
        rustup target list --installed | grep -qx "$target" || rustup --quiet target add "$target"
        name=${target//-/_}
        env "CC_$name=$STAND_IN/cc" "AR_$name=$STAND_IN/ar" \
            cargo check --manifest-path "$ROOT/Cargo.toml" --locked --quiet --package touchseal-cli --target "$target"
        echo "cross: $target compiles"
    done
}

main; exit
