#!/usr/bin/env bash
# charts/pin-image.sh CHART REPOSITORY DIGEST: has a chart name the operator's image as it was published. The chart in git names
# none that can be pulled; the one that a release packs names what that release built, by its digest.
set -euo pipefail

values=$1/values.yaml repository=$2 digest=$3
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "pin-image.sh: $digest is no digest" >&2; exit 1; }
sed -i "/^image:/,/^imagePullSecrets:/ { s|^  repository: .*|  repository: $repository|; s|^  digest: .*|  digest: $digest|; }" "$values"
image=$(sed -n '/^image:/,/^imagePullSecrets:/p' "$values")
for line in "  repository: $repository" "  digest: $digest"; do
  grep -qxF "$line" <<<"$image" || { echo "pin-image.sh: $values has no place for:$line" >&2; exit 1; }
done
