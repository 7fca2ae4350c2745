//! From documents to Secret keys: all five formats as real sops writes them, all mappings, and every way it can fail.

use serde_json::{Value, json};
use touchseal_crds::encrypted_secret::Mapping;
use touchseal_plan::{Content, mapping};
use touchseal_rig::poll::eventually;
use touchseal_sops::{Document, Format};
use touchseal_suites::world::{condition, repository, value};
use touchseal_suites::{Apps, DEADLINE, Sops};

/// Encrypts with real sops, decrypts with our own library, and maps.
struct Bench {
    sops: Sops,
    identity: age::x25519::Identity,
}

impl Bench {
    fn new() -> Bench {
        Bench { sops: Sops::new(), identity: age::x25519::Identity::generate() }
    }

    fn add(&self, content: &mut Content, name: &str, plaintext: &str, mapping: Value) -> Result<(), String> {
        let encrypted = self.sops.encrypt(name, plaintext, &self.identity.to_public().to_string());
        let format = Format::from_file_name(name).unwrap_or(Format::Binary);
        let plain =
            Document::parse(encrypted.as_bytes(), format).unwrap().decrypt(&[&self.identity]).unwrap();
        let mapping: Option<Mapping> = serde_json::from_value(mapping).unwrap();
        mapping::add(content, &plain, mapping.as_ref(), Some(name)).map_err(|error| error.to_string())
    }

    fn map(&self, name: &str, plaintext: &str, mapping: Value) -> Result<Vec<(String, String)>, String> {
        let mut content = Content::default();
        self.add(&mut content, name, plaintext, mapping)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(content.data.iter().map(|(k, v)| (k.clone(), text(v))).collect())
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn documents_become_keys() {
    let bench = Bench::new();
    let flat = json!({ "flat": {} });
    let none = Value::Null;
    let nested = "db:\n  hosts:\n    - name: a\n      password: p0\n    - name: b\n      password: p1\n  dotted.key: d\n";
    let paths = |list: &[(&str, &str)]| {
        let list: Vec<Value> = list.iter().map(|(path, key)| json!({ "path": path, "key": key })).collect();
        json!({ "paths": list })
    };
    let manifest = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\nstringData:\n  a: plain\ndata:\n  b: YmFz\n  c: |\n    YmFz\n    ZTY0\n";
    type Case<'a> = (&'a str, &'a str, &'a str, Value, &'a [(&'a str, &'a str)]);
    let cases: [Case; 13] = [
        (
            "flat by default",
            "a.yaml",
            "user: app\npassword: p\n",
            none.clone(),
            &[("password", "p"), ("user", "app")],
        ),
        (
            "scalars as text",
            "a.yaml",
            "i: 7\nf: 1.5\nb: true\ns: \"007\"\nempty: \"\"\n",
            flat.clone(),
            &[("b", "true"), ("empty", ""), ("f", "1.5"), ("i", "7"), ("s", "007")],
        ),
        ("several lines", "a.yaml", "pem: |\n  one\n  two\n", flat.clone(), &[("pem", "one\ntwo\n")]),
        ("not only ASCII", "a.yaml", "a: \"grüße 🔑\"\n", flat.clone(), &[("a", "grüße 🔑")]),
        ("json", "a.json", r#"{"a": "x", "n": 3}"#, none.clone(), &[("a", "x"), ("n", "3")]),
        ("dotenv", "a.env", "A=x\nB=y=z\n", none.clone(), &[("A", "x"), ("B", "y=z")]),
        (
            "ini",
            "a.ini",
            "[db]\nuser = app\n\n[smtp]\nuser = mail\n",
            none.clone(),
            &[("db.user", "app"), ("smtp.user", "mail")],
        ),
        (
            "binary under its name",
            "tls.key",
            "-----BEGIN\nx\n",
            none.clone(),
            &[("tls.key", "-----BEGIN\nx\n")],
        ),
        (
            "binary as a file",
            "tls.key",
            "x\n",
            json!({ "file": { "key": "key.pem" } }),
            &[("key.pem", "x\n")],
        ),
        (
            "a whole dotenv file",
            "a.env",
            "A=x\nB=y\n",
            json!({ "file": { "key": ".env" } }),
            &[(".env", "A=x\nB=y\n")],
        ),
        (
            "paths",
            "a.yaml",
            nested,
            paths(&[("db.hosts[1].password", "second"), ("db[\"dotted.key\"]", "d")]),
            &[("d", "d"), ("second", "p1")],
        ),
        (
            "one value under two keys",
            "a.yaml",
            "a: x\n",
            paths(&[("a", "one"), ("a", "two")]),
            &[("one", "x"), ("two", "x")],
        ),
        (
            "a manifest",
            "a.yaml",
            manifest,
            json!({ "manifest": {} }),
            &[("a", "plain"), ("b", "bas"), ("c", "base64")],
        ),
    ];
    for (what, name, plaintext, mapping, expected) in cases {
        assert_eq!(bench.map(name, plaintext, mapping), Ok(pairs(expected)), "{what}");
    }
}

#[test]
fn what_does_not_fit_says_what_to_do_and_no_value() {
    let bench = Bench::new();
    let flat = json!({ "flat": {} });
    let paths = |path: &str, key: &str| json!({ "paths": [{ "path": path, "key": key }] });
    let twice = json!({ "paths": [{ "path": "a", "key": "k" }, { "path": "b", "key": "k" }] });
    let manifest = json!({ "manifest": {} });
    let secret = "apiVersion: v1\nkind: Secret\n";
    let bad_data = format!("{secret}data:\n  a: hunter2!\n");
    let long_key = format!("{}: hunter2\n", "k".repeat(254));
    let cases: [(&str, &str, &str, Value, &str); 16] = [
        (
            "map",
            "a.yaml",
            "a:\n  b: hunter2\n",
            flat.clone(),
            "key a holds a map or a list; use mapping.paths",
        ),
        ("list", "a.yaml", "a: [hunter2]\n", flat.clone(), "key a holds a map or a list"),
        ("null", "a.yaml", "a: null\nb: hunter2\n", flat.clone(), "key a holds null"),
        ("bad key", "a.yaml", "a b: hunter2\n", flat.clone(), "\"a b\" is no Secret key"),
        ("long key", "a.yaml", &long_key, flat.clone(), "is no Secret key"),
        ("dots", "a.yaml", "..a: hunter2\n", flat.clone(), "\"..a\" is no Secret key"),
        ("several documents", "a.yaml", "a: hunter2\n---\nb: hunter2\n", flat.clone(), "2 YAML documents"),
        ("nothing at the path", "a.yaml", "a: hunter2\n", paths("b", "k"), "path b: "),
        ("not as deep", "a.yaml", "a: hunter2\n", paths("a.b", "k"), "path a.b: "),
        ("no such item", "a.yaml", "a: [hunter2]\n", paths("a[1]", "k"), "path a[1]: "),
        ("path to a map", "a.yaml", "a:\n  b: hunter2\n", paths("a", "k"), "key a holds a map"),
        ("bad key of a path", "a.yaml", "a: hunter2\n", paths("a", "k k"), "\"k k\" is no Secret key"),
        ("one key twice", "a.yaml", "a: hunter2\nb: hunter3\n", twice, "key k comes up twice"),
        ("no manifest", "a.yaml", "a: hunter2\n", manifest.clone(), "not a `kind: Secret` manifest"),
        (
            "an unexpected manifest",
            "a.yaml",
            "apiVersion: v1\nkind: Secret\nstringData:\n  a: hunter2\n",
            flat.clone(),
            "use mapping.manifest",
        ),
        ("no base64", "a.yaml", &bad_data, manifest, "data.a is not base64"),
    ];
    for (what, name, plaintext, mapping, words) in cases {
        let said = bench.map(name, plaintext, mapping).expect_err(what);
        assert!(said.contains(words), "{what}: {said}");
        assert!(!said.contains("hunter"), "{what}: {said}");
    }
}

#[test]
fn a_key_may_come_from_one_document_only() {
    let bench = Bench::new();
    let mut content = Content::default();
    bench.add(&mut content, "a.yaml", "a: x\n", Value::Null).unwrap();
    bench.add(&mut content, "b.env", "b=y\n", Value::Null).unwrap();
    let said = bench.add(&mut content, "c.yaml", "b: z\n", Value::Null).unwrap_err();
    assert!(said.contains("key b comes up twice"), "{said}");
    let shown = format!("{content:?}");
    assert!(shown.contains("\"a\"") && !shown.contains("120"), "no values: {shown}");
}

#[test]
fn all_formats_and_mappings_arrive_in_one_secret() {
    let apps = Apps::new("formats");
    let document = |name: &str, plaintext: &str, mapping: Value| {
        let mut document = json!({ "name": name, "sops": apps.encrypt(name, plaintext) });
        if !mapping.is_null() {
            document["mapping"] = mapping;
        }
        document
    };
    let documents = json!([
        document("app.yaml", "user: app\n", Value::Null),
        document("app.json", r#"{"token": "t"}"#, Value::Null),
        document("app.env", "SMTP=s\n", Value::Null),
        document("app.ini", "[db]\npassword = p\n", Value::Null),
        document("tls.key", "key\n", Value::Null),
        document("nested.yaml", "a:\n  b: deep\n", json!({ "paths": [{ "path": "a.b", "key": "picked" }] })),
        document("settings.yaml", "debug: false\n", json!({ "file": { "key": "settings.yaml" } })),
    ]);
    apps.apply_secret("app", json!({ "documents": documents }));
    apps.wait_for("app", "True", "Materialised");
    let secret = apps.secret("app").unwrap();
    let expected: [(&str, &[u8]); 7] = [
        ("user", b"app"),
        ("token", b"t"),
        ("SMTP", b"s"),
        ("db.password", b"p"),
        ("tls.key", b"key\n"),
        ("picked", b"deep"),
        ("settings.yaml", b"debug: false\n"),
    ];
    assert_eq!(secret["data"].as_object().unwrap().len(), expected.len());
    for (key, wanted) in expected {
        assert_eq!(value(&secret, key).as_deref(), Some(wanted), "{key}");
    }

    // A manifest brings its type.
    let manifest =
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: c\n  tls.key: k\n";
    apps.apply_secret(
        "tls",
        json!({ "documents": [document("tls.yaml", manifest, json!({ "manifest": {} }))] }),
    );
    apps.wait_for("tls", "True", "Materialised");
    assert_eq!(apps.secret("tls").unwrap()["type"], "kubernetes.io/tls");
    let minting =
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\nstringData:\n  a: b\n";
    apps.apply_secret(
        "minting",
        json!({ "documents": [document("m.yaml", minting, json!({ "manifest": {} }))] }),
    );
    apps.wait_for("minting", "False", "InvalidTarget");
}

#[test]
fn documents_in_config_maps_are_followed() {
    let apps = Apps::new("references");
    let reference = json!({ "documents": [{ "configMapKeyRef": { "name": "source", "key": "app.env" } }] });
    apps.apply_secret("app", reference);
    let object = apps.wait_for("app", "False", "SourceNotFound");
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("ConfigMap source does not exist"), "{message}");

    apps.apply_config_map("source", json!({ "other": "x" }));
    eventually(DEADLINE, "the key to be missed", || {
        let object = apps.encrypted_secret("app");
        condition(&object, "Ready")["message"].as_str().unwrap().contains("has no key app.env")
    })
    .unwrap();
    let put = |plaintext: &str| {
        apps.apply_config_map("source", json!({ "app.env": apps.encrypt("app.env", plaintext) }));
    };
    put("A=one\n");
    apps.wait_for_generation("app", 1);
    put("A=two\n");
    apps.wait_for_generation("app", 2);
    assert_eq!(value(&apps.secret("app").unwrap(), "A").unwrap(), b"two");

    // Gone: the Secret stays, and the object says why it is not Ready.
    apps.kubectl(&["delete", "configmap", "source"]);
    let object = apps.wait_for("app", "False", "SourceNotFound");
    assert!(condition(&object, "Ready")["message"].as_str().unwrap().contains("keeps generation 2"));
    assert_eq!(value(&apps.secret("app").unwrap(), "A").unwrap(), b"two");
    put("A=two\n");
    assert_eq!(apps.wait_for("app", "True", "Materialised")["status"]["secretGeneration"], 2);

    // As binaryData, in another format, named by the reference's key.
    let document = apps.encrypt("app.yaml", "A: three\n");
    let file = apps.cluster.dir().join("app.yaml");
    std::fs::write(&file, document).unwrap();
    apps.kubectl(&["create", "configmap", "files", &format!("--from-file=app.yaml={}", file.display())]);
    apps.apply_secret(
        "app",
        json!({ "documents": [{ "configMapKeyRef": { "name": "files", "key": "app.yaml" } }] }),
    );
    apps.wait_for_generation("app", 3);
}

#[test]
fn a_secret_holds_no_more_than_the_api_server_takes() {
    let bench = Bench::new();
    let mut content = Content::default();
    let half = |key: &str, bytes: usize| format!("{key}={}\n", "x".repeat(bytes));
    bench.add(&mut content, "a.env", &half("a", 512 * 1024), Value::Null).unwrap();
    // Names count, too: one byte each.
    bench.add(&mut content, "b.env", &half("b", 512 * 1024 - 2), Value::Null).unwrap();
    let said = bench.add(&mut content, "c.env", "c=x\n", Value::Null).unwrap_err();
    assert!(said.contains("the limit of a Secret"), "{said}");
}

/// The examples of the spec page: each is encrypted, applied and served; what the page says it gives, it gives.
#[test]
fn the_examples_of_the_spec_page_work_as_written() {
    let apps = Apps::new("examples");
    let page = std::fs::read_to_string(repository().join("crds/encryptedsecret.md")).unwrap();
    let mut count = 0;
    for example in page.split("<!-- example: ").skip(1) {
        let (name, rest) = example.split_once(" -->").unwrap();
        let block = |language: &str| {
            let start =
                rest.find(&format!("```{language}\n")).unwrap_or_else(|| panic!("{name}: no {language}"));
            let body = &rest[start + language.len() + 4..];
            body[..body.find("```").unwrap()].to_owned()
        };
        let (file, plaintext) = {
            let text = block("sops");
            let (first, rest) = text.split_once('\n').unwrap();
            (first.trim_start_matches("# ").to_owned(), rest.to_owned())
        };
        let mapping = block("yaml");
        let document = apps.encrypt(&file, &plaintext);
        let indented: String = document.lines().map(|line| format!("        {line}\n")).collect();
        let manifest = format!(
            "apiVersion: touchseal.dev/v1alpha1\nkind: EncryptedSecret\nmetadata: {{ name: {name}, namespace: {} }}\nspec:\n  documents:\n    - name: {file}\n      sops: |\n{indented}{}",
            apps.apps,
            mapping.lines().map(|line| format!("      {line}\n")).collect::<String>(),
        );
        apps.cluster.apply(&manifest).unwrap();
        apps.wait_for(name, "True", "Materialised");
        let secret = apps.secret(name).unwrap();
        let expected: Value = serde_json::from_str(&block("json")).unwrap();
        let got: serde_json::Map<String, Value> = secret["data"]
            .as_object()
            .unwrap()
            .keys()
            .map(|key| (key.clone(), json!(String::from_utf8(value(&secret, key).unwrap()).unwrap())))
            .collect();
        assert_eq!(json!({ "type": secret["type"], "data": got }), expected, "{name}");
        count += 1;
    }
    assert!(count >= 5, "{count} examples found");
}
