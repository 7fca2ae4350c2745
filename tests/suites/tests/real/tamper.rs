//! What a git writer without a key can try: other manifests in the place of the keyring's, and documents changed after they
//! were encrypted. Each is refused as a whole, under its own reason, and no Secret changes; what is served and unchanged
//! stays Ready.

use serde_json::{Value, json};
use touchseal_crds::keyring::{Holder, KeyringSpec};
use touchseal_keyring::{MasterKey, OpenKeyring, manifest};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::{condition, repository, value};
use touchseal_suites::{DEADLINE, Laptop, Operator, SoftHolder, World};

/// A keyring of two live generations at revision 3, and the manifest of revision 2 before it. The keyring's vectors
/// attack this very keyring.
struct Line {
    before: KeyringSpec,
    spec: KeyringSpec,
    open: OpenKeyring,
}

fn line() -> Line {
    let before: KeyringSpec = serde_json::from_value(vector("manifest-2.json")).unwrap();
    let verified = manifest::verify(&before).unwrap();
    let master = || {
        MasterKey::fill_with(|bytes| {
            bytes.fill(2);
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap()
    };
    let open = OpenKeyring::open(&verified, master()).unwrap();
    let carol: Holder = SoftHolder::generate("carol", 3).entry;
    let spec = manifest::add_holder(&verified, &open, carol).unwrap();
    let open = OpenKeyring::open(&manifest::verify(&spec).unwrap(), master()).unwrap();
    Line { before, spec, open }
}

fn vector(name: &str) -> Value {
    let path = repository().join("tests/vectors/keyring").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn attack(name: &str) -> Value {
    vector(&format!("refused/{name}.json"))["manifest"].take()
}

fn apply(world: &World, spec: &Value) {
    let object = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Keyring", "metadata": { "name": "prod" }, "spec": spec,
    });
    world.cluster.apply(&object.to_string()).unwrap();
}

/// Waits until the keyring is refused for this reason by every replica, and holds no key.
fn wait_until_refused(world: &World, operator: &Operator, reason: &str) {
    eventually(DEADLINE, &format!("Tampered {reason}"), || {
        let keyring = world.cluster.get(&["keyring", "prod"]).unwrap();
        let tampered = condition(&keyring, "Tampered");
        let (ready, current) = (condition(&keyring, "Ready"), &keyring["metadata"]["generation"]);
        let told = tampered["status"] == "True" && tampered["reason"] == reason && ready["status"] == "False";
        let ours = keyring["status"]["observedGeneration"] == *current;
        if told && ours && keyring["status"]["unsealedReplicas"] == 0 {
            Ok(())
        } else {
            Err(keyring["status"].to_string())
        }
    })
    .unwrap();
    assert!(operator.metrics().contains("touchseal_keyring_unsealed{keyring=\"prod\"} 0"));
    eventually(DEADLINE, "no request of a refused keyring", || {
        world.cluster.get(&["unsealrequests", "-A"]).unwrap()["items"].as_array().unwrap().is_empty()
    })
    .unwrap();
}

#[test]
fn other_manifests_are_refused_and_the_right_one_is_taken_up_again() {
    let mut world = World::new("tamper");
    let line = line();
    world.apply_keyring("prod", &line.spec);
    let operator = world.operator();
    world.unseal("prod", &line.open, 1);
    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: first\n", &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("app", "True", "Materialised");
    let secret = world.secret("app").unwrap();
    // What is served and unchanged: nothing is written to it all the while.
    world.apply_secret("still", json!({ "documents": [{ "sops": document }] }));
    let still = world.wait_for("still", "True", "Materialised");

    let attacks = [
        ("an added holder", "ManifestInvalid", attack("added-holder")),
        ("a removed holder", "ManifestInvalid", attack("removed-holder")),
        ("an added generation", "ManifestInvalid", attack("added-generation")),
        ("a generation that endorses itself", "ManifestInvalid", attack("added-generation-self-endorsed")),
        ("another wrapped master", "ManifestInvalid", attack("swapped-wrapped")),
        ("another signature", "ManifestInvalid", attack("flipped-signature")),
        ("a raised revision", "ManifestInvalid", attack("revision-raised")),
        ("a whole keyring of the attacker's", "FingerprintChanged", attack("swapped-keyring")),
        ("a generation endorsed by a leaked master", "ManifestForked", attack("forked-generation")),
        ("the revision before", "ManifestRolledBack", json!(line.before)),
    ];
    for (round, (attack, reason, spec)) in attacks.iter().enumerate() {
        eprintln!("{attack}");
        apply(&world, spec);
        wait_until_refused(&world, &operator, reason);
        // A change that comes now waits: it must not be opened with keys that should be gone.
        let changed = world.sops.encrypt("app.yaml", &format!("password: changed-{round}\n"), &recipient);
        world.apply_secret("app", json!({ "documents": [{ "sops": changed }] }));
        let refused = world.wait_for("app", "False", "KeyringRefused");
        let message = condition(&refused, "Ready")["message"].as_str().unwrap();
        assert!(message.contains("keyring prod, whose manifest is refused"), "{message}");
        assert!(condition(&refused, "Stalled").is_null(), "{attack}");
        assert_eq!(world.secret("app").unwrap(), secret, "{attack}");

        world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
        world.apply_keyring("prod", &line.spec);
        world.unseal("prod", &line.open, 1);
        let keyring = world.cluster.get(&["keyring", "prod"]).unwrap();
        assert!(condition(&keyring, "Tampered").is_null() && condition(&keyring, "Stalled").is_null());
        world.wait_for("app", "True", "Materialised");
        assert_eq!(world.secret("app").unwrap(), secret, "{attack}");
        assert_eq!(world.encrypted_secret("still"), still, "{attack}");
    }
}

/// A manifest no program of this version can read, in the keyring's place or beside it: the API server refuses what its schema
/// knows to be wrong, and where that is looser (another version's) nobody is blinded by it.
#[test]
fn a_manifest_that_cannot_be_read_seals_its_keyring_and_blinds_nobody() {
    let mut world = World::new("unreadable");
    let line = line();
    world.apply_keyring("prod", &line.spec);
    let operator = world.operator();
    world.unseal("prod", &line.open, 1);
    let patch = |name: &str, patch: &Value| {
        let patch = patch.to_string();
        world.cluster.kubectl_stdout(&["patch", "keyring", name, "--type=json", "-p", &patch])
    };
    let serial =
        |serial: Value| json!([{ "op": "replace", "path": "/spec/holders/0/serial", "value": serial }]);
    let refused = patch("prod", &serial(json!(5_000_000_000_u64))).unwrap_err().to_string();
    assert!(refused.contains("spec.holders[0].serial") && refused.contains("4294967295"), "{refused}");

    let anything = json!([{
        "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        "value": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    }]);
    let crd = ["patch", "crd", "keyrings.touchseal.dev", "--type=json", "-p"];
    world.cluster.kubectl_stdout(&[&crd[..], &[&anything.to_string()]].concat()).unwrap();
    let odd = json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "Keyring", "metadata": { "name": "odd" },
        "spec": { "version": "of another kind" },
    });
    world.cluster.apply(&odd.to_string()).unwrap();
    // Beside it the right one is followed, shown and sealed as ever.
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let system = world.system.clone();
    let status = laptop.run_plain(&["status", "--operator-namespace", &system]);
    assert!(status.out.contains("prod") && status.out.contains("Unsealed"), "{}{}", status.out, status.err);
    laptop.run_plain(&["seal", "--keyring", "prod", "--operator-namespace", &system]).ok();
    world.wait_for_replicas("prod", 0);
    world.unseal("prod", &line.open, 1);

    patch("prod", &serial(json!("many"))).unwrap();
    wait_until_refused(&world, &operator, "ManifestInvalid");
    // The panic button is heard over it, and a start finds all keyrings there are.
    world.seal("prod", "over-an-unreadable-one");
    eventually(DEADLINE, "the marker to be acted upon", || {
        let keyring = world.cluster.get(&["keyring", "prod"]).unwrap();
        let handled = &keyring["status"]["replicas"][0]["lastHandledSealRequest"];
        if handled == "over-an-unreadable-one" { Ok(()) } else { Err(keyring["status"].to_string()) }
    })
    .unwrap();
    let Operator { process, pod, .. } = operator;
    drop(process);
    let _operator = Operator::start_as(&world.cluster, &world.system, pod);
    apply(&world, &json!(line.spec));
    world.unseal("prod", &line.open, 1);
    world.upgrade(&[]); // the schema as it is shipped
}

#[test]
fn the_pin_outlives_the_keyring_and_only_an_administrator_removes_it() {
    let mut world = World::new("pinned");
    let line = line();
    world.apply_keyring("prod", &line.spec);
    let operator = world.operator();
    world.unseal("prod", &line.open, 1);
    world.cluster.get(&["configmap", "touchseal-pin-prod", "-n", &world.system]).unwrap();

    world.cluster.kubectl_stdout(&["delete", "keyring", "prod"]).unwrap();
    let theirs = SoftHolder::generate("mallory", 666);
    let (swapped, opens_swapped) = theirs.create_keyring();
    world.apply_keyring("prod", &swapped);
    wait_until_refused(&world, &operator, "FingerprintChanged");

    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let said = laptop.run_plain(&["doctor", "--operator-namespace", &world.system]);
    assert!(said.code == 1 && said.out.contains("the operator refuses keyring prod"), "{said:?}");

    // A restarted operator reads the same pin.
    drop(operator);
    let operator = world.operator();
    wait_until_refused(&world, &operator, "FingerprintChanged");

    world
        .cluster
        .kubectl_stdout(&["delete", "configmap", "touchseal-pin-prod", "-n", &world.system])
        .unwrap();
    world.unseal("prod", &opens_swapped, 1);
    // From now on that one is pinned.
    apply(&world, &json!(line.spec));
    wait_until_refused(&world, &operator, "FingerprintChanged");
}

#[test]
fn a_changed_document_is_refused_as_a_whole() {
    let mut world = World::new("changed");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();
    world.unseal("prod", &open, 1);
    let recipient = world.recipient(&world.apps, "prod");
    let plaintext = "alpha: first-value\nbeta: other-value\nnote_unencrypted: seen by all\n";
    let document = world.sops.encrypt("app.yaml", plaintext, &recipient);
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("app", "True", "Materialised");
    let secret = world.secret("app").unwrap();
    assert_eq!(value(&secret, "alpha").unwrap(), b"first-value");

    let line = |key: &str| document.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
    let (alpha, beta, mac, modified) = (line("alpha:"), line("beta:"), line("mac:"), line("lastmodified:"));
    let (alpha_value, beta_value) = (alpha.split_once(": ").unwrap().1, beta.split_once(": ").unwrap().1);
    let swapped =
        |one: &str, two: &str| document.replace(one, "\u{1}").replace(two, one).replace('\u{1}', two);
    const TAMPERED: &str = "DocumentTampered";
    let changes = [
        (TAMPERED, "a byte of a value", document.replace(alpha, &flipped(alpha, "data:"))),
        (TAMPERED, "a byte of a tag", document.replace(alpha, &flipped(alpha, "tag:"))),
        (TAMPERED, "a byte of an initialisation vector", document.replace(alpha, &flipped(alpha, "iv:"))),
        (
            "UnsupportedDocument",
            "a value called a number",
            document.replace(alpha, &alpha.replace("type:str", "type:int")),
        ),
        (
            TAMPERED,
            "a value called a comment",
            document.replace(alpha, &alpha.replace("type:str", "type:comment")),
        ),
        (TAMPERED, "the MAC", document.replace(mac, &flipped(mac, "data:"))),
        (TAMPERED, "the order of keys", swapped(alpha, beta)),
        (TAMPERED, "values under each other's keys", swapped(alpha_value, beta_value)),
        (TAMPERED, "a key's name", document.replace("alpha: ", "gamma: ")),
        (TAMPERED, "a value left out", document.replace(&format!("{beta}\n"), "")),
        (TAMPERED, "a clear-text value", document.replace("seen by all", "seen by some")),
        (TAMPERED, "lastmodified", document.replace(modified, "    lastmodified: \"2020-01-01T00:00:00Z\"")),
    ];
    for (reason, change, changed) in changes {
        eprintln!("{change}");
        assert_ne!(changed, document, "{change}");
        world.apply_secret("app", json!({ "documents": [{ "sops": changed }] }));
        let refused = world.wait_for("app", "False", reason);
        assert_eq!(condition(&refused, "Stalled")["status"], "True", "{change}");
        assert_eq!(refused["status"]["secretGeneration"], 1, "{change}");
        assert_eq!(world.secret("app").unwrap(), secret, "{change}");
    }
    world.apply_secret("app", json!({ "documents": [{ "sops": document }] }));
    let ready = world.wait_for("app", "True", "Materialised");
    assert_eq!(ready["status"]["secretGeneration"], 1);
    assert_eq!(world.secret("app").unwrap(), secret);
}

/// The line with another first letter after `field`; still base64.
fn flipped(line: &str, field: &str) -> String {
    let at = line.find(field).unwrap() + field.len();
    let other = if &line[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &line[..at], &line[at + 1..])
}
