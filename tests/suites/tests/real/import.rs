//! `touchseal import` on a real API server: Secrets that run are taken over without a gap, and what is made of plain files is
//! what they were, for the operator and for the real sops.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_rig::tools::Tool;
use touchseal_suites::world::value;
use touchseal_suites::{Apps, DEADLINE, Laptop};

/// Every state of one Secret while it lasts, by a watch of kubectl.
struct Watch {
    child: Child,
    seen: std::path::PathBuf,
}

impl Watch {
    fn of(apps: &Apps, name: &str) -> Watch {
        let seen = apps.cluster.dir().join(format!("{}-{name}.watch", apps.apps));
        let field = format!("metadata.name={name}");
        let mut kubectl = Tool::Kubectl.command().unwrap();
        kubectl.arg("--kubeconfig").arg(apps.cluster.admin_kubeconfig());
        kubectl.args(["-n", &apps.apps, "get", "secrets", "--field-selector", &field]);
        kubectl.args(["--watch", "--output-watch-events", "-o", "json"]);
        let out = File::create(&seen).unwrap();
        let child = kubectl.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        let watch = Watch { child, seen };
        eventually(DEADLINE, "the watch to begin", || !watch.states().is_empty()).unwrap();
        watch
    }

    /// Type of the event, and the Secret.
    fn states(&self) -> Vec<(String, Value)> {
        let text = fs::read_to_string(&self.seen).unwrap();
        let events = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        // The last one may be written just now.
        events
            .map_while(Result::ok)
            .map(|event| (event["type"].as_str().unwrap().to_owned(), event["object"].clone()))
            .collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn apply(apps: &Apps, laptop: &Laptop, name: &str) {
    apps.cluster
        .apply(&fs::read_to_string(laptop.folder().join(format!("{name}.esec.yaml"))).unwrap())
        .unwrap();
}

#[test]
fn a_secret_that_runs_is_taken_over_without_a_gap() {
    let apps = Apps::new("import-live");
    let laptop = Laptop::new(&apps.cluster.admin_kubeconfig());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": { "name": "app", "namespace": apps.apps, "labels": { "team": "payments" }, "annotations": { "note": "x" } },
        "data": { "username": STANDARD.encode("shop"), "password": STANDARD.encode("correct horse"), "salt": STANDARD.encode(b"\xff\x00\xfe") },
    });
    let file = laptop.folder().join("app.json");
    fs::write(&file, secret.to_string()).unwrap();
    // As kubectl applies it: with a copy of its values in an annotation.
    apps.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    let before = apps.secret("app").unwrap();
    let watch = Watch::of(&apps, "app");

    let import = ["import", "-n", &apps.apps, "--from-secret", "app", "--age", &apps.recipient];
    let plan = laptop.run_plain(&[&import[..], &["--dry-run", "-o", "json"]].concat()).ok();
    let rows: Value = serde_json::from_str(&plan.out).unwrap();
    assert_eq!(rows[0]["keys"], json!(["password", "salt", "username"]));
    assert_eq!(rows[0]["adopts"], true);
    assert!(!laptop.folder().join("app.esec.yaml").exists(), "a dry run writes nothing");
    let said = laptop.run_plain(&import).ok();
    let consent = format!("kubectl annotate secret app -n {} touchseal.dev/adopt=app", apps.apps);
    assert!(said.err.contains(&consent) && said.err.contains("last-applied-configuration-"), "{}", said.err);
    for (words, text) in [("the plan", &plan), ("the import", &said)] {
        for plain in ["correct horse", &STANDARD.encode("correct horse")] {
            assert!(!text.out.contains(plain) && !text.err.contains(plain), "{words} shows a value");
        }
    }
    assert_eq!(apps.secret("app").unwrap(), before, "reading it changes nothing");

    apps.kubectl(&["annotate", "secret", "app", "touchseal.dev/adopt=app"]);
    apply(&apps, &laptop, "app");
    let object = apps.wait_for("app", "True", "Materialised");
    assert_eq!(object["status"]["secretGeneration"], 1);
    assert_eq!(apps.events("app"), ["Adopted"]);
    let after = apps.secret("app").unwrap();
    for field in [
        "/metadata/uid",
        "/metadata/creationTimestamp",
        "/data",
        "/type",
        "/metadata/labels/team",
        "/metadata/annotations/note",
    ] {
        assert_eq!(after.pointer(field), before.pointer(field), "{field}");
    }
    let ours = |secret: &Value| secret["metadata"]["annotations"]["touchseal.dev/encrypted-secret"] == "app";
    eventually(DEADLINE, "the watch to see it taken over", || {
        watch.states().iter().any(|(_, secret)| ours(secret))
    })
    .unwrap();
    let states = watch.states();
    for (event, state) in &states {
        assert_ne!(event, "DELETED");
        assert_eq!(
            (&state["data"], &state["type"]),
            (&before["data"], &before["type"]),
            "in every state on the way"
        );
    }
    // What it was, the consent, and one write of the operator's.
    assert_eq!(states.len(), 3, "{:?}", states.iter().map(|(event, _)| event).collect::<Vec<_>>());

    // And back: the Secret stays as it is, for whoever had it before.
    apps.kubectl(&["delete", "esec", "app", "--cascade=orphan"]);
    eventually(DEADLINE, "the end of the EncryptedSecret", || {
        apps.kubectl(&["get", "esec", "--ignore-not-found", "-o=name"]).is_empty()
    })
    .unwrap();
    let left =
        apps.wait_for_secret("app", "no owner", |secret| secret["metadata"]["ownerReferences"].is_null());
    assert_eq!((&left["data"], &left["metadata"]["uid"]), (&before["data"], &before["metadata"]["uid"]));
}

/// What an application would read: keys and bytes.
type Wanted = BTreeMap<String, Vec<u8>>;

fn wanted(pairs: &[(&str, &[u8])]) -> Wanted {
    pairs.iter().map(|(key, bytes)| ((*key).to_owned(), bytes.to_vec())).collect()
}

/// A certificate and its key, as administrators make them.
fn openssl(folder: &Path, name: &str, algorithm: &str) -> (Vec<u8>, Vec<u8>) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=shop.example.com"])
        .args(algorithm.split(' '))
        .args(["-keyout", &key, "-out", &certificate])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (fs::read(folder.join(certificate)).unwrap(), fs::read(folder.join(key)).unwrap())
}

/// What the real sops makes of each document of a manifest.
fn opened_by_sops(folder: &Path, name: &str, identity: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder.join(format!("{name}.esec.yaml"))).unwrap();
    let object: Value = serde_norway::from_str(&text).unwrap();
    let documents = object["spec"]["documents"].as_array().unwrap();
    let open = |document: &Value| {
        let format =
            if document["format"].is_string() { document["format"].as_str().unwrap() } else { "yaml" };
        fs::write(folder.join("document"), document["sops"].as_str().unwrap()).unwrap();
        let mut sops = Tool::Sops.command().unwrap();
        sops.args(["decrypt", "--input-type", format, "--output-type", format, "document"]);
        let said = sops.env("SOPS_AGE_KEY", identity).current_dir(folder).output().unwrap();
        assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        said.stdout
    };
    documents.iter().map(open).collect()
}

#[test]
fn every_kind_of_file_is_served_as_it_was_and_opens_with_the_real_sops() {
    let apps = Apps::new("import-files");
    let laptop = Laptop::new(&apps.cluster.admin_kubeconfig());
    let own = age::x25519::Identity::generate();
    let both = format!("{},{}", apps.recipient, own.to_public());
    let folder = laptop.folder().to_owned();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let every: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let settings = b"# settings\r\nDATABASE = {'password': 'correct horse'}\r\n\ttab, trailing  \n";
    let yaml = b"b: 1 # keeps its comments\na: {password: \"correct horse\"}\n\n---\nother: [1, 2]";
    let docker = br#"{"auths": {"registry.example.com": {"auth": "c2hvcDpjb3JyZWN0IGhvcnNl"}}}"#;
    put("app.env", b"export A='correct horse' # c\nPEM=\"-----BEGIN\nx\n-----END\"\nN=1.10\n");
    put("settings.py", settings);
    put("app.yaml", yaml);
    put("store.jks", &every);
    put("spring.properties", b"spring.datasource.password = correct\\u0020horse\nn=1.10\n");
    put("config.json", docker);
    let pairs = [
        ("rsa", "-newkey rsa:2048"),
        ("ec", "-newkey ec -pkeyopt ec_paramgen_curve:P-384"),
        ("p521", "-newkey ec -pkeyopt ec_paramgen_curve:P-521"),
    ];
    let pairs = pairs.map(|(name, algorithm)| (name, openssl(&folder, name, algorithm)));
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Secret", "type": "example.com/x", "data": { "a": STANDARD.encode(&every[..300]), "sops": "eA==" },
            "metadata": { "name": "listed", "namespace": apps.apps, "labels": { "team": "a" }, "annotations": { "note": "b" } } },
        { "apiVersion": "v1", "kind": "Secret", "stringData": { "sops": "a", "b_unencrypted": "c" },
            "metadata": { "name": "awkward", "namespace": apps.apps } },
    ] });
    put("list.json", list.to_string().as_bytes());

    let import = |arguments: &[&str]| {
        let said =
            laptop.run_plain(&[&["import", "-n", &apps.apps, "--age", &both], arguments].concat()).ok();
        assert!(!said.out.contains("correct horse") && !said.err.contains("correct horse"), "{arguments:?}");
        said.err
    };
    import(&["app.env", "list.json"]);
    import(&["settings.py", "app.yaml", "store.jks", "--name", "files"]);
    import(&["spring.properties", "--as", "flat"]);
    import(&["config.json", "--name", "registry"]);
    let mut expected: Vec<(&str, &str, Wanted)> = vec![
        (
            "app",
            "Opaque",
            wanted(&[("A", b"correct horse"), ("PEM", b"-----BEGIN\nx\n-----END"), ("N", b"1.10")]),
        ),
        ("files", "Opaque", wanted(&[("settings.py", settings), ("app.yaml", yaml), ("store.jks", &every)])),
        ("spring", "Opaque", wanted(&[("spring.datasource.password", b"correct horse"), ("n", b"1.10")])),
        ("registry", "kubernetes.io/dockerconfigjson", wanted(&[(".dockerconfigjson", docker)])),
        ("listed", "example.com/x", wanted(&[("a", &every[..300]), ("sops", b"x")])),
        ("awkward", "Opaque", wanted(&[("sops", b"a"), ("b_unencrypted", b"c")])),
    ];
    for (name, (certificate, key)) in &pairs {
        let said = import(&[&format!("{name}.crt"), &format!("{name}.key")]);
        assert_eq!(said.contains("could not be checked"), *name == "p521", "{said}");
        expected.push((name, "kubernetes.io/tls", wanted(&[("tls.crt", certificate), ("tls.key", key)])));
    }
    let refused = ["import", "-n", &apps.apps, "--age", &both, "ec.crt", "rsa.key", "--name", "mixed"];
    laptop.run_plain(&refused).refused(1, &["ec.crt, rsa.key: the private key is not the certificate's"]);

    for (name, _, _) in &expected {
        apply(&apps, &laptop, name);
    }
    for (name, type_, wanted) in &expected {
        apps.wait_for(name, "True", "Materialised");
        let secret = apps.secret(name).unwrap();
        assert_eq!(secret["type"], *type_, "{name}");
        let keys: Vec<&String> = secret["data"].as_object().unwrap().keys().collect();
        assert_eq!(keys, wanted.keys().collect::<Vec<_>>(), "{name}");
        for (key, bytes) in wanted {
            assert_eq!(value(&secret, key).as_ref(), Some(bytes), "{name}: {key}");
        }
    }
    let listed = apps.secret("listed").unwrap();
    assert_eq!(
        (&listed["metadata"]["labels"]["team"], &listed["metadata"]["annotations"]["note"]),
        (&json!("a"), &json!("b"))
    );

    use age::secrecy::ExposeSecret as _;
    let identity = own.to_string();
    let opened = |name: &str| opened_by_sops(&folder, name, identity.expose_secret());
    assert_eq!(opened("files"), [settings.to_vec(), yaml.to_vec(), every.clone()]);
    for (name, _, wanted) in
        expected.iter().filter(|(name, ..)| !["files", "listed", "awkward"].contains(name))
    {
        let map: BTreeMap<String, String> = serde_norway::from_slice(&opened(name)[0]).unwrap();
        let bytes: Wanted = map.into_iter().map(|(key, text)| (key, text.into_bytes())).collect();
        assert_eq!(bytes, *wanted, "{name}");
    }
    let manifest: Value = serde_norway::from_slice(&opened("listed")[0]).unwrap();
    assert_eq!(manifest["data"]["a"], STANDARD.encode(&every[..300]));
}
