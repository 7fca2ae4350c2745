//! The canary sweep: distinctive plaintexts in every format go through creation, change, sealing, unsealing and every
//! error path that is known; then they, and the master key, are looked for wherever they could have leaked.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::search::{derived, find};
use touchseal_suites::world::{condition, value};
use touchseal_suites::{DEADLINE, Needle, Operator, SoftHolder, World};

/// Makes canaries and remembers them.
#[derive(Default)]
struct Aviary(Vec<Needle>);

impl Aviary {
    /// A value that stands nowhere else.
    fn canary(&mut self, what: &str) -> String {
        let random: [u8; 12] = rand::random();
        let bird: String = random.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        let bird = format!("{what}{bird}");
        self.0.push(Needle::new(what, bird.as_bytes()));
        bird
    }
}

#[test]
fn nothing_secret_is_said_written_or_left_anywhere() {
    let mut world = World::new("canary");
    let mut birds = Aviary::default();
    let holder = SoftHolder::generate("alice", 1);
    let master: [u8; 32] = rand::random();
    let (spec, open) = holder.create_keyring_of(&master);
    world.apply_keyring("prod", &spec);
    let operator = world.operator();
    let recipient = open.recipient_spec(&world.apps).unwrap().recipient;

    let served = in_every_format(&world, &mut birds, &recipient);
    for name in &served {
        world.wait_for(name, "False", "Sealed");
    }
    world.unseal("prod", &open, 1);
    for name in &served {
        world.wait_for(name, "True", "Materialised");
    }
    in_every_format(&world, &mut birds, &recipient); // other values, hence other generations
    for name in &served {
        world.wait_for_generation(name, 2);
    }
    drift(&world, &served);

    foreign_secrets(&world, &mut birds, &recipient);
    bad_mappings(&world, &mut birds, &recipient);
    templates(&world, &mut birds, &recipient);
    bad_documents(&world, &mut birds, &recipient);
    too_much(&world, &mut birds, &recipient);
    refused_writes(&world, &mut birds, &recipient);
    // What this policy's author has the API server say is in the API server's own audit log, whatever the operator does.
    let (quoted, quotes) = quoted_by_a_policy(&world, &recipient);

    world.seal("prod", "midway");
    forged_release(&world);
    let late = in_every_format(&world, &mut birds, &recipient);
    world.wait_for(&late[0], "False", "Sealed");
    world.unseal("prod", &open, 1);
    for name in &served {
        world.wait_for_generation(name, 3);
    }

    let mut keys = vec![Needle::new("the master", &master)];
    for info in ["namespace/canary-apps", "digest/canary-apps", "manifest", "previous"] {
        keys.push(Needle::new(
            format!("the key {info}"),
            &derived(&master, open.id(), &format!("touchseal/v1/{info}")),
        ));
    }
    let secrets: Vec<Needle> = birds.0.iter().chain(&keys).cloned().collect();
    let all: Vec<Needle> = secrets.iter().chain(&quoted).cloned().collect();
    sweep_operator(&operator, &all);
    sweep_cluster(&world, &all);
    sweep_audit_log(&world, &secrets);
    sweep_etcd(&world, &keys, &secrets[0]);
    assert!(quotes > 0, "the API server quoted the value to the operator");
}

/// One EncryptedSecret a format and mapping, each with fresh canaries.
fn in_every_format(world: &World, birds: &mut Aviary, recipient: &str) -> Vec<String> {
    let mut bird = |what: &str| birds.canary(what);
    let number: u64 = rand::random::<u64>() >> 1;
    let documents = [
        (
            "flat",
            "a.yaml",
            format!(
                "text: {}\nblock: |\n    {}\n    x\nnumber: {number}\n",
                bird("yaml-text"),
                bird("yaml-block")
            ),
            json!({ "flat": {} }),
        ),
        (
            "json",
            "a.json",
            format!(r#"{{"text":"{}","list_unused":"{}"}}"#, bird("json-text"), bird("json-more")),
            json!({ "flat": {} }),
        ),
        (
            "dotenv",
            "a.env",
            format!("TEXT={}\nMORE={}\n", bird("dotenv-text"), bird("dotenv-more")),
            json!({ "flat": {} }),
        ),
        ("ini", "a.ini", format!("[section]\ntext = {}\n", bird("ini-text")), json!({ "flat": {} })),
        (
            "binary",
            "a.bin",
            format!("-----BEGIN\n{}\n", bird("binary")),
            json!({ "file": { "key": "blob" } }),
        ),
        (
            "file",
            "a.yaml",
            format!("# {}\nnested:\n    list: [{}]\n", bird("yaml-comment"), bird("yaml-list")),
            json!({ "file": { "key": "settings.yaml" } }),
        ),
        (
            "paths",
            "a.yaml",
            format!("deep:\n    - value: {}\n      other: {}\n", bird("yaml-path"), bird("yaml-unused")),
            json!({ "paths": [{ "path": "deep[0].value", "key": "picked" }] }),
        ),
        (
            "manifest",
            "s.yaml",
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata:\n    name: x\nstringData:\n    text: {}\ndata:\n    encoded: {}\n",
                bird("manifest-text"),
                base64(&bird("manifest-data"))
            ),
            json!({ "manifest": {} }),
        ),
    ];
    let mut names = Vec::new();
    for (name, file, plaintext, mapping) in documents {
        let regex = ["--encrypted-regex", "^(data|stringData)$"];
        let arguments = [&["--age", recipient][..], if name == "manifest" { &regex } else { &[] }].concat();
        let document = world.sops.encrypt_with(file, &plaintext, &arguments);
        world.apply_secret(
            name,
            json!({ "documents": [{ "sops": document, "name": file, "mapping": mapping }] }),
        );
        names.push(name.to_owned());
    }
    names
}

/// A Secret of ours changed by hand is put back.
fn drift(world: &World, served: &[String]) {
    let before = world.secret(&served[0]).unwrap();
    let patch = r#"{"data":{"text":"ZHJpZnRlZA=="}}"#;
    world
        .cluster
        .kubectl_stdout(&["patch", "secret", &served[0], "-n", &world.apps, "--type=merge", "-p", patch])
        .unwrap();
    eventually(DEADLINE, "the drift reverted", || {
        world.secret(&served[0]).unwrap()["data"] == before["data"]
    })
    .unwrap();
}

fn foreign_secrets(world: &World, birds: &mut Aviary, recipient: &str) {
    let (theirs, ours) = (birds.canary("foreign"), birds.canary("conflicting"));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "taken", "namespace": world.apps },
        "stringData": { "password": theirs },
    });
    world.cluster.apply(&secret.to_string()).unwrap();
    let document = world.sops.encrypt("a.yaml", &format!("password: {ours}\n"), recipient);
    world.apply_secret("taken", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("taken", "False", "Conflict");
}

fn bad_mappings(world: &World, birds: &mut Aviary, recipient: &str) {
    let mut bird = |what: &str| birds.canary(what);
    let cases = [
        ("map", format!("password:\n    inner: {}\n", bird("mapping-map")), json!({ "flat": {} })),
        ("null", format!("other: {}\npassword: null\n", bird("mapping-null")), json!({ "flat": {} })),
        (
            "no-path",
            format!("password: {}\n", bird("mapping-path")),
            json!({ "paths": [{ "path": "password.inner", "key": "k" }] }),
        ),
        (
            "no-manifest",
            format!("apiVersion: v1\nkind: {}\n", bird("mapping-kind")),
            json!({ "manifest": {} }),
        ),
        (
            "no-base64",
            format!("apiVersion: v1\nkind: Secret\ndata:\n    password: '{}!'\n", bird("mapping-base64")),
            json!({ "manifest": {} }),
        ),
        (
            "a-type",
            format!(
                "apiVersion: v1\nkind: Secret\ntype: {}\nstringData:\n    password: x\n",
                bird("mapping-type")
            ),
            json!({ "manifest": {} }),
        ),
    ];
    for (name, plaintext, mapping) in cases {
        let document = world.sops.encrypt("a.yaml", &plaintext, recipient);
        world.apply_secret(name, json!({ "documents": [{ "sops": document, "mapping": mapping }] }));
        if name != "a-type" {
            world.wait_for(name, "False", "InvalidMapping");
        }
    }
    // A type is no secret: it is written in the open in every Secret. It must only not be the one thing that leaks.
    let twice = world.sops.encrypt("a.yaml", &format!("password: {}\n", bird("mapping-twice")), recipient);
    world.apply_secret("twice", json!({ "documents": [{ "sops": twice }, { "sops": twice }] }));
    world.wait_for("twice", "False", "InvalidMapping");
}

/// What is put together, and what cannot be.
fn templates(world: &World, birds: &mut Aviary, recipient: &str) {
    for (name, text, reason) in [
        ("composed", "//{{ password | urlencode }}@{{ password | tojson }}", "Materialised"),
        ("template-name", "{{ data[password] }}", "TemplateFailed"),
        ("template-base64", "{{ password | b64decode }}", "TemplateFailed"),
        ("template-key", "{{ password }}{{ pasword }}", "TemplateFailed"),
    ] {
        let plaintext = format!("password: '{}!'\n", birds.canary(name));
        let document = world.sops.encrypt("a.yaml", &plaintext, recipient);
        let target = json!({ "template": { "data": { "out": text } } });
        world.apply_secret(name, json!({ "documents": [{ "sops": document }], "target": target }));
        let status = if reason == "Materialised" { "True" } else { "False" };
        world.wait_for(name, status, reason);
    }
}

/// Documents with a fault, and files that somebody forgot to encrypt: what stands in them is not repeated.
fn bad_documents(world: &World, birds: &mut Aviary, recipient: &str) {
    let mut bird = |what: &str| birds.canary(what);
    let document = world.sops.encrypt("a.yaml", &format!("password: {}\n", bird("tampered")), recipient);
    let tampered =
        document.replacen("password: ENC[AES256_GCM,data:", "password: ENC[AES256_GCM,data:AAAA", 1);
    world.apply_secret("tampered", json!({ "documents": [{ "sops": tampered }] }));
    world.wait_for("tampered", "False", "DocumentTampered");

    let clear = [
        ("clear-yaml", "a.yaml", format!("password: {}\n", bird("clear-yaml"))),
        (
            "broken-yaml",
            "a.yaml",
            format!("password: {}: [{}\n  - {{\n", bird("broken-yaml"), bird("broken-yaml")),
        ),
        ("clear-json", "a.json", format!(r#"{{"password": "{}" "x"}}"#, bird("broken-json"))),
        ("clear-env", "a.env", format!("{}\n", bird("broken-env"))),
        ("clear-ini", "a.ini", format!("[{}\n{}\n", bird("broken-ini"), bird("broken-ini"))),
        (
            "clear-metadata",
            "a.yaml",
            format!(
                "a: b\nsops:\n    mac: {}\n    lastmodified: {}\n    version: {}\n",
                bird("in-mac"),
                bird("in-time"),
                bird("in-version")
            ),
        ),
        (
            "clear-value",
            "a.yaml",
            document.replacen(
                "password: ENC[AES256_GCM,data:",
                &format!("password: ENC[AES256_GCM,data:{},", bird("in-value")),
                1,
            ),
        ),
    ];
    for (name, key, text) in clear {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": world.apps }, "data": { key: text },
        });
        world.cluster.apply(&map.to_string()).unwrap();
        world.apply_secret(
            name,
            json!({ "documents": [{ "configMapKeyRef": { "name": name, "key": key } }] }),
        );
        eventually(DEADLINE, &format!("{name} refused"), || {
            let object = world.encrypted_secret(name);
            if condition(&object, "Ready")["status"] == "False" {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        })
        .unwrap();
    }
}

/// Together more than a Secret can hold.
fn too_much(world: &World, birds: &mut Aviary, recipient: &str) {
    let mut references = Vec::new();
    for number in 0..3 {
        let filler = "x".repeat(500_000);
        let plaintext = format!("part-{number}: {}{filler}\n", birds.canary("oversized"));
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": format!("part-{number}"), "namespace": world.apps },
            "data": { "a.yaml": world.sops.encrypt("a.yaml", &plaintext, recipient) },
        });
        world.cluster.apply(&map.to_string()).unwrap();
        references.push(json!({ "configMapKeyRef": { "name": format!("part-{number}"), "key": "a.yaml" } }));
    }
    world.apply_secret("oversized", json!({ "documents": references }));
    world.wait_for("oversized", "False", "InvalidMapping");
}

/// Contents and targets that the API server itself refuses as invalid (422).
fn refused_writes(world: &World, birds: &mut Aviary, recipient: &str) {
    let mut bird = |what: &str| birds.canary(what);
    let refused = |name: &str, plaintext: &str, target: Value| {
        let document = world.sops.encrypt("a.yaml", plaintext, recipient);
        world.apply_secret(name, json!({ "documents": [{ "sops": document }], "target": target }));
        eventually(DEADLINE, &format!("{name} refused"), || {
            let object = world.encrypted_secret(name);
            let ready = condition(&object, "Ready");
            if ready["status"] == "False" && ready["reason"] == "ApiError" {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        })
        .unwrap();
    };
    refused("no-tls", &format!("tls.crt: {}\n", bird("tls")), json!({ "type": "kubernetes.io/tls" }));
    refused(
        "no-docker",
        &format!(".dockerconfigjson: '{{{}'\n", bird("docker")),
        json!({ "type": "kubernetes.io/dockerconfigjson" }),
    );
    refused(
        "bad-label",
        &format!("password: {}\n", bird("label")),
        json!({ "labels": { "a": "not a label!" } }),
    );
}

/// An admission policy whose message quotes the value it forbids (403): the API server tells it to the operator, and there
/// it must end. Returns the canary, and how often the API server said it.
fn quoted_by_a_policy(world: &World, recipient: &str) -> (Vec<Needle>, usize) {
    let mut birds = Aviary::default();
    let bird = birds.canary("quoted");
    let policy = json!([
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": "talkative" },
            "spec": {
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"],
                }] },
                "matchConditions": [{ "name": "named", "expression": "object.metadata.name == 'quoted'" }],
                "validations": [{ "expression": "false", "reason": "Forbidden", "messageExpression": "'refused: ' + string(object.data.password)" }],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": "talkative" }, "spec": { "policyName": "talkative", "validationActions": ["Deny"] },
        },
    ]);
    for object in policy.as_array().unwrap() {
        world.cluster.apply(&object.to_string()).unwrap();
    }
    // Enforced a moment later: until then the write would pass.
    let probe = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "quoted", "namespace": world.apps },
        "stringData": { "password": "probe-of-the-policy" },
    });
    let file = world.cluster.dir().join("quoted.json");
    fs::write(&file, probe.to_string()).unwrap();
    let said = eventually(DEADLINE, "the policy", || {
        let dry = ["apply", "--dry-run=server", "-f", file.to_str().unwrap()];
        let output = world.cluster.kubectl(&dry).unwrap();
        if output.status.success() {
            None
        } else {
            Some(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    })
    .unwrap();
    assert!(said.contains("refused: "), "{said}");

    let document = world.sops.encrypt("a.yaml", &format!("password: {bird}\n"), recipient);
    world.apply_secret("quoted", json!({ "documents": [{ "sops": document }] }));
    world.wait_for("quoted", "False", "ApiError");
    let audit = fs::read_to_string(world.cluster.audit_log()).unwrap();
    let quotes = audit.lines().filter(|line| !find(&birds.0, line.as_bytes()).is_empty()).count();
    (birds.0, quotes)
}

fn forged_release(world: &World) {
    let request = world.requests(1).remove(0);
    let release = json!({
        "nonce": request["status"]["nonce"], "generation": 1, "holder": "mallory", "serial": 6,
        "encapsulatedKey": base64(&"k".repeat(32)), "ciphertext": base64(&"c".repeat(48)),
    });
    world.write_release(request["metadata"]["name"].as_str().unwrap(), &release);
    eventually(DEADLINE, "the release refused", || {
        let request = world.requests(1).remove(0);
        if condition(&request, "ReleaseRefused")["status"] == "True" {
            Ok(())
        } else {
            Err(request.to_string())
        }
    })
    .unwrap();
}

fn clean(needles: &[Needle], what: &str, haystack: &[u8]) {
    assert_eq!(find(needles, haystack), [""; 0], "in {what}");
}

/// What the process says and shows: its log, metrics, command line, environment, and every file it has open.
fn sweep_operator(operator: &Operator, needles: &[Needle]) {
    let log = operator.process.log();
    for word in ["could not be reconciled", "a release was refused", "unsealed", "reconcile_id"] {
        assert!(log.contains(word), "the log is not what it should be: no {word}");
    }
    clean(needles, "the operator's log", log.as_bytes());
    let metrics = operator.metrics();
    assert!(metrics.contains("touchseal_secret_writes_total"));
    clean(needles, "the metrics", metrics.as_bytes());
    let process = format!("/proc/{}", operator.process.pid());
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(Path::new(&process).join(file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            file != "cmdline" || text.contains("--log-level\0trace"),
            "the log holds all there is to say"
        );
        assert!(file != "environ" || text.contains("PATH="), "{file} is what it should be");
        clean(needles, file, &bytes);
    }
    let mut files = 0;
    for entry in fs::read_dir(Path::new(&process).join("fd")).unwrap() {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).unwrap_or_default();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            files += 1;
            assert_eq!(target, operator.process.log_path(), "the operator keeps a file open");
            clean(needles, "an open file", &fs::read(&path).unwrap());
        }
    }
    assert!(files > 0, "its log is a file");
}

/// What the operator wrote into the cluster apart from Secrets: Events, its own kinds with their statuses, pins, ledger.
fn sweep_cluster(world: &World, needles: &[Needle]) {
    let get = |arguments: &[&str]| {
        world
            .cluster
            .kubectl_stdout(&[&["get", "-o=json", "--show-managed-fields"], arguments].concat())
            .unwrap()
    };
    let events = get(&["events.events.k8s.io", "-A"]);
    for reason in ["Materialised", "Conflict", "InvalidMapping", "ReleaseInvalid"] {
        assert!(events.contains(reason), "no Event of {reason}");
    }
    clean(needles, "Events", events.as_bytes());
    for kind in ["encryptedsecrets", "keyrings", "recipients", "unsealrequests"] {
        clean(needles, kind, get(&[&format!("{kind}.touchseal.dev"), "-A"]).as_bytes());
    }
    let maps = get(&["configmaps", "-n", &world.system]);
    assert!(maps.contains("touchseal-ledger-") && maps.contains("touchseal-pin-prod"));
    clean(needles, "the operator's ConfigMaps", maps.as_bytes());
}

fn sweep_audit_log(world: &World, needles: &[Needle]) {
    let audit = fs::read(world.cluster.audit_log()).unwrap();
    assert!(String::from_utf8_lossy(&audit).contains("serviceaccount:canary-system:touchseal-operator"));
    clean(needles, "the audit log", &audit);
}

/// etcd holds Secrets, so it holds canaries; no key may be there. The canary shows that the search works.
fn sweep_etcd(world: &World, keys: &[Needle], canary: &Needle) {
    let mut seen = false;
    let mut folders = vec![world.cluster.etcd_data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            clean(keys, &path.display().to_string(), &bytes);
            seen |= !find(std::slice::from_ref(canary), &bytes).is_empty();
        }
    }
    assert!(seen, "the search of etcd's files does not find what is there");
    assert!(value(&world.secret("flat").unwrap(), "text").is_some());
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
