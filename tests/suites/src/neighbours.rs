//! Other operators that make Secrets, run as themselves beside a test: what people move in from.

mod sops_secrets;

pub use sops_secrets::{ISINDIR, PEAK, SopsSecrets};

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use touchseal_rig::cluster::Cluster;
use touchseal_rig::poll::eventually;
use touchseal_rig::ports::Port;
use touchseal_rig::process::{self, Process};
use touchseal_rig::tools::Tool;

use crate::{DEADLINE, Laptop};

/// Where they run.
const NAMESPACE: &str = "kube-system";

/// What a pod finds of its ServiceAccount, in a view of the file system that only this process has.
const IN_A_POD: &str = r#"
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io
cp -r "$0" /run/secrets/kubernetes.io/serviceaccount
exec "$@"
"#;

/// A running operator; it ends with this.
pub struct Neighbour {
    _process: Process,
    _ports: Vec<Port>,
}

/// The controller of Sealed Secrets, whose log is beside the cluster's. It knows no kubeconfig, so it is run as in a pod, which takes
/// root.
pub fn sealed_secrets(cluster: &Cluster) -> Neighbour {
    definitions(cluster, &Tool::SealedSecretsCrds.path().unwrap(), "bitnami.com");
    let account = account(cluster, "sealed-secrets");
    let (host, port) = cluster
        .url()
        .trim_start_matches("https://")
        .rsplit_once(':')
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .unwrap();
    let ports = [Port::claim().unwrap(), Port::claim().unwrap()];
    let mut command = process::command("unshare");
    command.args(["--mount", "sh", "-ec", IN_A_POD]).arg(&account).arg(Tool::SealedSecrets.path().unwrap());
    command.arg("--key-size=2048");
    command.arg(format!("--listen-addr=127.0.0.1:{}", ports[0].number()));
    command.arg(format!("--listen-metrics-addr=127.0.0.1:{}", ports[1].number()));
    command
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port)
        .env("POD_NAMESPACE", NAMESPACE);
    Neighbour { _process: start(cluster, "sealed-secrets", command), _ports: ports.into() }
}

/// The operator of External Secrets.
pub fn external_secrets(cluster: &Cluster) -> Neighbour {
    definitions(cluster, &Tool::ExternalSecretsCrds.path().unwrap(), "external-secrets.io");
    let mut command = process::command(Tool::ExternalSecrets.path().unwrap());
    command
        .args(["--metrics-addr=0", "--enable-leader-election=false"])
        .env("KUBECONFIG", cluster.admin_kubeconfig());
    Neighbour { _process: start(cluster, "external-secrets", command), _ports: Vec::new() }
}

/// A program that this machine has by itself.
pub fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A file at a laptop, as sops opens it with age keys.
pub fn opened(laptop: &Laptop, keys: &Path, file: &str, arguments: &[&str]) -> String {
    let mut sops = Tool::Sops.command().unwrap();
    sops.arg("decrypt").args(arguments).arg(file).current_dir(laptop.folder());
    let said = sops.env("SOPS_AGE_KEY_FILE", keys).output().unwrap();
    assert!(said.status.success(), "{file}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

/// The same as values.
pub fn values(laptop: &Laptop, keys: &Path, file: &str) -> Value {
    serde_json::from_str(&opened(laptop, keys, file, &["--output-type=json"])).unwrap()
}

/// Those of a file.
fn definitions(cluster: &Cluster, file: &Path, group: &str) {
    let definitions = fs::read_to_string(file).unwrap();
    let kinds = definitions.lines().filter(|line| line.strip_prefix("  group: ") == Some(group)).count();
    define(cluster, &definitions, group, kinds);
}

/// Once they are served, which those who ask what there is learn a moment later.
fn define(cluster: &Cluster, definitions: &str, group: &str, kinds: usize) {
    assert!(kinds > 0);
    cluster.apply(definitions).unwrap();
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    cluster.kubectl_stdout(&wait).unwrap();
    let ask = ["api-resources", "--cached=false", "--no-headers", "-o=name", "--api-group", group];
    eventually(DEADLINE, "the kinds to be told of", || {
        let told = cluster.kubectl_stdout(&ask).map_err(|error| format!("{error:?}"))?;
        if told.lines().count() >= kinds { Ok(()) } else { Err(format!("{kinds} of {told}")) }
    })
    .unwrap();
}

/// A ServiceAccount that may do anything, as a folder of files.
fn account(cluster: &Cluster, name: &str) -> PathBuf {
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": NAMESPACE } },
        { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": NAMESPACE }] },
    ] });
    cluster.apply(&objects.to_string()).unwrap();
    let folder = cluster.dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    let put = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
    put("token", &cluster.token(NAMESPACE, name, None, None).unwrap());
    put("namespace", NAMESPACE);
    fs::copy(cluster.dir().join("certs/apiserver.crt"), folder.join("ca.crt")).unwrap();
    folder
}

fn start(cluster: &Cluster, name: &str, command: std::process::Command) -> Process {
    let log: &Path = &cluster.dir().join(format!("{name}.log"));
    process::spawn(name, command, log).unwrap()
}
