//! `touchseal version` beside an operator of the same version, of another one, and of one that says nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::cli::Said;
use touchseal_suites::{DEADLINE, SoftHolder, World, binaries};

const KEYRING: &str = "prod";
/// Of the programs that are tested.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Somebody with one of the shipped roles for people.
fn person(world: &World, role: &str) -> PathBuf {
    let kubectl = |arguments: &[&str]| world.cluster.kubectl_stdout(arguments).unwrap();
    kubectl(&["create", "serviceaccount", role, "-n", &world.system]);
    let subject = format!("--serviceaccount={}:{role}", world.system);
    kubectl(&["create", "clusterrolebinding", role, &format!("--clusterrole={role}"), &subject]);
    if role == "touchseal-unsealer" {
        kubectl(&["create", "rolebinding", role, "-n", &world.system, &format!("--role={role}"), &subject]);
    }
    world.cluster.kubeconfig_for_service_account(&world.system, role, None).unwrap()
}

fn version(world: &World, kubeconfig: &Path, more: &[&str]) -> Said {
    let output = Command::new(binaries::touchseal())
        .args(["version", "--operator-namespace", &world.system])
        .args(more)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said::from(output)
}

/// Has the one replica say another version, as the operator of that version would have.
fn pretend(world: &World, version: Value) {
    let mut replicas = world.cluster.get(&["keyring", KEYRING]).unwrap()["status"]["replicas"].clone();
    replicas[0]["version"] = version;
    let patch = json!({ "status": { "replicas": replicas } }).to_string();
    let arguments = ["patch", "keyring", KEYRING, "--subresource=status", "--type=merge", "-p", &patch];
    world.cluster.kubectl_stdout(&arguments).unwrap();
}

#[test]
fn it_compares_itself_with_the_operator_and_says_when_that_matters() {
    let mut world = World::new("version");
    let holder = person(&world, "touchseal-unsealer");
    let (spec, _) = SoftHolder::generate("alice", 1).create_keyring();
    world.apply_keyring(KEYRING, &spec);
    let mut operator = world.operator();
    let pod = operator.pod.name.clone();
    let same = format!("touchseal {OWN}\noperator {OWN} ({pod})\n");
    eventually(DEADLINE, "the operator's version, while it is sealed", || {
        let said = version(&world, &holder, &[]).ok();
        if said.out == same { Ok(()) } else { Err(said.out) }
    })
    .unwrap();
    assert_eq!(version(&world, &holder, &["--client"]).ok().out, format!("touchseal {OWN}\n"));

    // Who may not read keyrings is told so, and their own version all the same.
    let viewer = person(&world, "touchseal-viewer");
    let said = version(&world, &viewer, &[]).ok();
    let expected = format!("touchseal {OWN}\noperator not known: list keyrings: ");
    assert!(said.out.starts_with(&expected) && said.out.contains("forbidden"), "{}", said.out);

    operator.process.kill();
    pretend(&world, json!("99.0.0"));
    let said = version(&world, &holder, &[]).ok();
    assert!(
        said.out.contains(&format!("\noperator 99.0.0 ({pod})\nwarning: the operator's 99.0.0 is newer")),
        "{}",
        said.out
    );
    assert!(said.out.contains("\n  -> update touchseal to 99.0.0\n"), "{}", said.out);
    let said = version(&world, &holder, &["-o", "json"]).ok();
    let value: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&value["version"], &value["matters"]), (&json!(OWN), &json!(true)));
    assert_eq!(value["operator"], json!([{ "version": "99.0.0", "pods": [pod] }]));

    pretend(&world, Value::Null);
    let said = version(&world, &holder, &[]).ok();
    assert!(said.out.contains(&format!("warning: {pod} does not say its version")), "{}", said.out);

    // A replica that is gone has no version, whatever the status remembers.
    let delete = ["delete", "pod", &pod, "-n", &world.system, "--force", "--grace-period=0"];
    world.cluster.kubectl_stdout(&delete).unwrap();
    let said = version(&world, &holder, &[]).ok();
    assert!(
        said.out.ends_with("operator not known: no replica has reported on any keyring\n"),
        "{}",
        said.out
    );
}
