//! Documents that nobody's sops wrote: each gets its condition, and good documents beside them do not wait.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchseal_rig::poll::eventually;
use touchseal_suites::world::condition;
use touchseal_suites::{DEADLINE, SoftHolder, World};

/// How many good documents are made at the same time.
const GOOD: usize = 20;
/// The most a ConfigMap can hold, with some room for its name.
const LARGEST: usize = 1024 * 1024 - 1024;

const METADATA: &str = "\nsops:\n    age:\n        - recipient: RECIPIENT\n          enc: |\n            -----BEGIN AGE ENCRYPTED FILE-----\n            \
    eA==\n            -----END AGE ENCRYPTED FILE-----\n    lastmodified: \"2026-01-02T03:04:05Z\"\n    mac: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\n    \
    version: 3.11.0\n";

/// Name of the document's file, and the document.
fn garbage(recipient: &str, good: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let metadata = METADATA.replace("RECIPIENT", recipient);
    let with = |body: String| [body.as_bytes(), metadata.as_bytes()].concat();
    let replaced = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        changed.into_bytes()
    };
    let nested = |open: &str, close: &str| {
        let depth = LARGEST / (open.len() + close.len()) - 1024;
        [open.repeat(depth), close.repeat(depth)].concat()
    };
    let bomb: String = (1..40)
        .map(|n| format!("a{n}: &a{n} [*a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}, *a{p}]\n", p = n - 1))
        .collect();
    let mac_line = good.lines().find(|line| line.trim_start().starts_with("mac:")).unwrap().to_owned();
    let modified_line =
        good.lines().find(|line| line.trim_start().starts_with("lastmodified:")).unwrap().to_owned();
    let age_block = {
        let from = good.find("    age:").unwrap();
        good[from..good.find("    lastmodified:").unwrap()].to_owned()
    };
    vec![
        ("empty", "x.yaml", vec![]),
        ("empty-json", "x.json", vec![]),
        ("empty-env", "x.env", vec![]),
        ("empty-ini", "x.ini", vec![]),
        ("blank", "x.yaml", b" \n\n \t\n".to_vec()),
        ("zeros", "x.yaml", vec![0; LARGEST]),
        ("one-mebibyte", "x.yaml", vec![b'a'; LARGEST]),
        ("one-mebibyte-json", "x.json", [b"\"".to_vec(), vec![b'a'; LARGEST - 2], b"\"".to_vec()].concat()),
        ("one-mebibyte-of-noise", "x.bin", (0..LARGEST).map(|_| rand::random()).collect()),
        ("deep-json", "x.json", nested("[", "]").into_bytes()),
        ("deep-json-maps", "x.json", nested("{\"a\":", "}").into_bytes()),
        ("deep-yaml", "x.yaml", with(format!("a: {}", nested("[", "]"))[..LARGEST / 2].to_owned())),
        ("deep-yaml-block", "x.yaml", (0..1400).map(|depth| format!("{}a:\n", " ".repeat(depth / 2))).collect::<String>().into_bytes()),
        ("not-utf-8", "x.yaml", with("a: \u{1}".to_owned()).iter().map(|b| if *b == 1 { 0xff } else { *b }).collect()),
        ("not-utf-8-env", "x.env", b"A=\xff\xfe\nsops_mac=\xc0\x80\n".to_vec()),
        ("utf-16", "x.yaml", "a: b\n".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("duplicate-keys", "x.yaml", replaced("password:", "password: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\npassword:")),
        ("duplicate-sops", "x.yaml", [good.as_bytes(), metadata.as_bytes()].concat()),
        ("duplicate-json", "x.json", br#"{"a":"ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]","a":1,"sops":{"mac":"x","mac":"y"}}"#.to_vec()),
        ("alias-bomb", "x.yaml", with(format!("a0: &a0 [x]\n{bomb}"))),
        ("alias-of-itself", "x.yaml", with("a: &a [*a]".to_owned())),
        ("no-metadata", "x.yaml", b"password: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\n".to_vec()),
        ("metadata-text", "x.yaml", b"a: b\nsops: lastmodified\n".to_vec()),
        ("metadata-list", "x.yaml", b"a: b\nsops: [1, 2]\n".to_vec()),
        ("metadata-null", "x.json", br#"{"a":"b","sops":null}"#.to_vec()),
        ("mac-number", "x.yaml", replaced(&mac_line, "    mac: 5")),
        ("mac-map", "x.yaml", replaced(&mac_line, "    mac: {a: b}")),
        ("no-mac", "x.yaml", replaced(&format!("{mac_line}\n"), "")),
        ("lastmodified-list", "x.yaml", replaced(&modified_line, "    lastmodified: []")),
        ("lastmodified-nonsense", "x.yaml", replaced(&modified_line, "    lastmodified: yesterday")),
        ("age-text", "x.yaml", replaced(&age_block, "    age: nobody\n")),
        ("age-numbers", "x.yaml", replaced(&age_block, "    age: [1, 2, 3]\n")),
        ("age-no-stanza", "x.yaml", replaced(&age_block, &format!("    age:\n        - recipient: {recipient}\n"))),
        ("threshold-text", "x.yaml", replaced("    lastmodified", "    shamir_threshold: many\n    lastmodified")),
        ("regex-bomb", "x.yaml", replaced("    unencrypted_suffix: _unencrypted", &format!("    encrypted_regex: '{}'", "(a*)*".repeat(2000)))),
        ("regex-broken", "x.yaml", replaced("    unencrypted_suffix: _unencrypted", "    encrypted_regex: '('")),
        ("many-keys", "x.yaml", with((0..60_000).map(|n| format!("key-{n}: v\n")).collect::<String>())),
        ("many-recipients", "x.yaml", replaced(&age_block, &format!("    age:\n{}", format!("        - recipient: {recipient}\n          enc: x\n").repeat(9000)))),
        ("wrong-format", "x.json", good.as_bytes().to_vec()),
        ("wrong-format-ini", "x.ini", good.as_bytes().to_vec()),
        ("several-documents", "x.yaml", [good, "---\n", good].concat().into_bytes()),
        ("tags", "x.yaml", with("a: !!binary x\nb: !!python/object:os.system ls".to_owned())),
        ("broken-yaml", "x.yaml", b"a: [b\nc: }\n\t- d".to_vec()),
        ("half", "x.yaml", good.as_bytes()[..good.len() / 2].to_vec()),
    ]
}

#[test]
fn garbage_gets_a_condition_and_nobody_else_waits_for_it() {
    let mut world = World::new("garbage");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let mut operator = world.operator();
    world.unseal("prod", &open, 1);
    let recipient = world.recipient(&world.apps, "prod");
    let document = world.sops.encrypt("app.yaml", "password: first\nother: second\n", &recipient);

    let alone = good_ones(&world, "alone", &document);

    let cases = garbage(&recipient, &document);
    for (name, file, bytes) in &cases {
        let source = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": world.apps },
            "binaryData": { *file: STANDARD.encode(bytes) },
        });
        world.cluster.apply(&source.to_string()).unwrap();
    }
    let objects = cases.iter().map(|(name, file, _)| {
        object(&world, name, json!({ "documents": [{ "configMapKeyRef": { "name": name, "key": file } }] }))
    });
    apply(&world, objects);
    let beside = good_ones(&world, "beside", &document);
    eprintln!("{GOOD} good documents took {alone:?} alone and {beside:?} beside garbage");
    // A busy machine is no slower for the one than for the other.
    assert!(beside < alone * 3 + Duration::from_secs(2), "{beside:?} beside garbage, {alone:?} alone");

    for (name, ..) in &cases {
        let refused = refused(&world, name);
        let ready = condition(&refused, "Ready");
        let (reason, message) = (ready["reason"].as_str().unwrap(), ready["message"].as_str().unwrap());
        eprintln!("{name}: {reason}: {message}");
        let known = ["InvalidDocument", "UnsupportedDocument", "DocumentTampered", "NoMatchingRecipient"];
        assert!(known.contains(&reason), "{name}: {reason}: {message}");
        assert!((20..=1100).contains(&message.len()), "{name}: {message}");
        assert_eq!(condition(&refused, "Stalled")["status"], "True", "{name}");
        assert!(world.secret(name).is_none(), "{name}");
    }
    assert!(operator.process.exited().is_none() && !operator.process.log().contains("panicked"));
}

#[test]
fn inline_garbage_that_passes_the_schema_gets_a_condition_too() {
    let mut world = World::new("inline");
    let holder = SoftHolder::generate("alice", 1);
    let (spec, open) = holder.create_keyring();
    world.apply_keyring("prod", &spec);
    let _operator = world.operator();
    world.unseal("prod", &open, 1);
    // What the schema looks for, and nothing around it that makes sense.
    let passes = "ENC[AES256_GCM,data: lastmodified";
    let large = format!("a: {passes}{}", " x".repeat(400_000));
    let nested = format!("a: {passes}\nb: {}", "[".repeat(100_000));
    for (name, text) in [("words", passes), ("large", &large), ("nested", &nested)] {
        world.apply_secret(name, json!({ "documents": [{ "sops": text }] }));
        refused(&world, name);
    }
    // And what it is there to stop does not even become an object.
    for text in ["", "password: hunter2-in-the-clear\n", "password: ENC[AES256_GCM,data:x]\n"] {
        let object = object(&world, "clear", json!({ "documents": [{ "sops": text }] }));
        let refused = world.cluster.apply(&object.to_string()).unwrap_err();
        assert!(format!("{refused:?}").contains("sops"), "{refused:?}");
    }
}

fn object(world: &World, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "touchseal.dev/v1alpha1", "kind": "EncryptedSecret",
        "metadata": { "name": name, "namespace": world.apps }, "spec": spec,
    })
}

fn apply(world: &World, objects: impl Iterator<Item = Value>) {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>() });
    world.cluster.apply(&list.to_string()).unwrap();
}

/// Makes good documents and waits until all are served; how long that took.
fn good_ones(world: &World, prefix: &str, document: &str) -> Duration {
    let names: Vec<String> = (0..GOOD).map(|number| format!("{prefix}-{number}")).collect();
    let began = Instant::now();
    apply(
        world,
        names.iter().map(|name| object(world, name, json!({ "documents": [{ "sops": document }] }))),
    );
    eventually(DEADLINE, "all good documents served", || {
        let list = world.cluster.get(&["encryptedsecrets", "-n", &world.apps]).unwrap();
        let ready = list["items"].as_array().unwrap().iter().filter(|object| {
            object["metadata"]["name"].as_str().unwrap().starts_with(prefix)
                && condition(object, "Ready")["status"] == "True"
        });
        let ready = ready.count();
        if ready == GOOD { Ok(()) } else { Err(format!("{ready} of {GOOD}")) }
    })
    .unwrap();
    began.elapsed()
}

fn refused(world: &World, name: &str) -> Value {
    eventually(DEADLINE, &format!("a condition of {name}"), || {
        let object = world.encrypted_secret(name);
        let ready = condition(&object, "Ready");
        assert_ne!(ready["status"], "True", "{name} was taken for a document");
        if ready["status"] == "False" { Ok(object) } else { Err(object["status"].to_string()) }
    })
    .unwrap()
}
