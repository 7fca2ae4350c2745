#!/usr/bin/env bash
# Makes a krew manifest and the archives it names; see README.md here.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
    (($# >= 4)) || die "usage: pack.sh VERSION ADDRESS FOLDER OS/ARCH=PROGRAM..."
    local version=${1#v} address=${2%/} folder=$3 platform program
    shift 3
    [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+ ]] || die "'$version' is no version such as 0.1.0"
    mkdir -p "$folder"
    {
        head_of "$version"
        for each in "$@"; do
            platform=${each%%=*} program=${each#*=}
            [[ $platform == */* && -f $program ]] || die "'$each' is no OS/ARCH=PROGRAM"
            platform_of "${platform%/*}" "${platform#*/}" "$program" "$address" "$folder"
        done
    } >"$folder/touchseal.yaml"
}

head_of() {
    cat <<YAML
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: touchseal
spec:
  version: v$1
  homepage: https://touchseal.dev
  shortDescription: Release secrets from git with one touch of a YubiKey
  description: |
    Git holds only ciphertext. An operator turns it into native Secrets; the key
    that opens it is on no disk: an administrator releases it to the operator
    with one operation of a YubiKey after each full restart. This plugin is the
    administrator's and the author's side: keyrings, documents, the ceremony,
    rotation and leaks.
  caveats: |
    The smart card service has to run (Linux: pcscd). What is missing, and what
    to do about it: kubectl touchseal doctor
  platforms:
YAML
}

# The same program gives the same archive.
platform_of() {
    local os=$1 arch=$2 program=$3 address=$4 folder=$5 name=kubectl-touchseal archive staged
    [[ $os != windows ]] || name=$name.exe
    archive=touchseal-$os-$arch.tar.gz
    staged=$(mktemp -d)
    install -m 755 "$program" "$staged/$name"
    install -m 644 "$HERE/../../../LICENSE" "$staged/LICENSE"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$staged" -c LICENSE "$name" | gzip -n >"$folder/$archive"
    rm -r "$staged"
    cat <<YAML
  - selector:
      matchLabels:
        os: $os
        arch: $arch
    uri: $address/$archive
    sha256: $(sha256sum "$folder/$archive" | cut -d' ' -f1)
    bin: $name
YAML
}

die() {
    echo "pack.sh: $*" >&2
    exit 1
}

main "$@"
