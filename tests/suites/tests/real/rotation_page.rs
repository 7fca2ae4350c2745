//! `docs/rotation.md` as somebody follows it who has four kinds of credentials, Deployments that use them, and a leak.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use touchseal_rig::poll::eventually;
use touchseal_suites::cli::PIN;
use touchseal_suites::pods::{env, mounting, spec};
use touchseal_suites::world::value;
use touchseal_suites::{DEADLINE, Laptop, Page, Reading, World};

use crate::drain::deployment;
use crate::guides::commit;

const SECRETS: [(&str, &str); 4] = [
    ("mail", "token: first\n"),
    ("db", "username: shop_a\npassword: of a\n"),
    ("chat", "webhook: before the reset\n"),
    ("tls", "key: the old one\n"),
];

#[test]
fn each_class_is_rotated_as_the_page_says_and_a_leak_is_followed_to_its_end() {
    let mut world = World::documented();
    world.upgrade(&["rollout.enabled=true"]);
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let _key = laptop.key(0, 4_711);
    laptop.create_keyring("prod", "alice");
    laptop.run(&["recipients", "-f", "prod.keyring.yaml", "--for", "shop", "--sops-yaml"], PIN).ok();
    // Kubelets refresh files within a second here.
    let _operator = world.operator_with(&["--mount-refresh=1s"]);
    world.cluster.apply(&fs::read_to_string(laptop.folder().join("prod.keyring.yaml")).unwrap()).unwrap();
    world.requests(1);
    laptop.run(&["unseal", "--yes"], PIN).ok();
    // To change a document with stock sops takes a key of one's own.
    let own = own_age_key(&laptop);

    let read = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (world, read) = (&world, &read);
        scope.spawn(move || {
            while !read.load(Ordering::Relaxed) {
                world.kubelet();
            }
        });
        let reading = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Reading::at(&laptop).with("SOPS_AGE_KEY_FILE", own.to_str().unwrap()).follow_with(
                &Page::of("docs/rotation.md"),
                |act| match act {
                    "the four secrets and who uses them" => begin(world, &laptop),
                    "the clock goes on" => world.next_second(),
                    other => panic!("nobody does {other:?}"),
                },
            );
        }));
        read.store(true, Ordering::Relaxed);
        reading.unwrap();
    });
    let token = value(&world.secret("mail").unwrap(), "token").unwrap();
    assert_eq!(token, b"third");
    assert_eq!(world.encrypted_secret("tls")["status"]["secretGeneration"], 2);
    let page = fs::read_to_string(laptop.folder().join("ci-leak.html")).unwrap();
    assert!(page.contains("ci-leak"));
}

/// Four documents in git and in the cluster, each used by a Deployment that runs.
fn begin(world: &World, laptop: &Laptop) {
    commit(laptop, &SECRETS);
    for (name, plain) in SECRETS {
        let manifest = laptop.folder().join(format!("shop/{name}.esec.yaml"));
        world.cluster.apply(&fs::read_to_string(manifest).unwrap()).unwrap();
        world.wait_for(name, "True", "Materialised");
        let key = plain.split(':').next().unwrap();
        let pod = if name == "db" { mounting(name) } else { spec(&env(name, key)) };
        world.cluster.apply(&deployment(world, name, &pod).to_string()).unwrap();
    }
    for (name, _) in SECRETS {
        eventually(DEADLINE, &format!("the pods of {name}"), || {
            let counts = world.encrypted_secret(name)["status"]["consumers"].clone();
            if counts["current"] == 2 && counts["stale"] == 0 { Ok(()) } else { Err(counts.to_string()) }
        })
        .unwrap();
    }
    world.next_second();
}

/// A key of the reader's own, in the creation rule.
fn own_age_key(laptop: &Laptop) -> PathBuf {
    let identity = laptop.folder().join("own.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&identity).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = fs::read_to_string(&identity).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let rules = laptop.folder().join(".sops.yaml");
    let text = fs::read_to_string(&rules).unwrap();
    let (before, after) = text.split_once("age: ").unwrap();
    fs::write(rules, format!("{before}age: {own},{after}")).unwrap();
    identity
}
