//! The PIN: typed into the command line, used on the card, found nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use touchseal_softkey::SoftKey;
use touchseal_suites::{Laptop, Needle, World};

/// Eight characters that stand nowhere by chance.
const PIN: &str = "Zq7#pW9x";
const WRONG: &str = "Yk4%bT2v";

#[test]
fn a_pin_is_in_no_log_no_file_and_not_in_the_cluster() {
    let mut world = World::new("pin");
    let laptop = Laptop::new(&world.cluster.admin_kubeconfig());
    let key = SoftKey::builder(4_711).pin(PIN).puk("Xw8&nR5c").build().unwrap();
    laptop.reader.insert(0, &key).unwrap();
    let loud = ["--v", "9"];
    let create =
        laptop.run(&[&["keyring", "create", "prod", "--holder", "alice"][..], &loud].concat(), PIN).ok();
    world.apply_keyring("prod", &laptop.manifest("prod"));
    let operator = world.operator();
    let nonce = world.requests(1)[0]["status"]["nonce"].as_str().unwrap().to_owned();
    let unseal = ["unseal", "--yes", "--operator-namespace", &world.system];
    let wrong = laptop.run(&[&unseal[..], &loud].concat(), WRONG).refused(1, &["PIN"]);
    let right = laptop.run(&[&unseal[..], &loud].concat(), PIN).ok();
    world.wait_for_replicas("prod", 1);
    assert_eq!(key.counters().pin_attempts, 3, "both PINs were used on the card");

    let needles = [Needle::raw("the PIN", PIN.as_bytes()), Needle::raw("a wrong PIN", WRONG.as_bytes())];
    let mut places: Vec<(String, Vec<u8>)> = [create, wrong, right]
        .into_iter()
        .map(|said| {
            ("what the command line said".to_owned(), format!("{}{}", said.out, said.err).into_bytes())
        })
        .collect();
    let folders = [laptop.home.path().to_owned(), world.cluster.etcd_data_dir()];
    places.extend(folders.iter().flat_map(|folder| files(folder)));
    places.push(("the operator's log".to_owned(), operator.process.log().into_bytes()));
    places.push(("the audit log".to_owned(), fs::read(world.cluster.audit_log()).unwrap()));
    places.push((
        "the events".to_owned(),
        world.cluster.get(&["events", "-A"]).unwrap().to_string().into_bytes(),
    ));
    assert!(
        places.iter().all(|(_, bytes)| !bytes.is_empty()) && places.len() > 8,
        "hardly anything was searched"
    );
    let session = Needle::raw("the session's nonce", nonce.as_bytes());
    let seen = places.iter().filter(|(_, bytes)| !session.find_in(bytes).is_empty()).count();
    assert!(seen > 0, "the same search finds what is in the cluster");
    for (place, bytes) in &places {
        let found = touchseal_suites::search::find(&needles, bytes);
        assert!(found.is_empty(), "{place}: {found:?}");
    }
}

/// All files below a folder that are not empty.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                found.push((path.display().to_string(), bytes));
            }
        }
    }
    found.retain(|(_, bytes)| !bytes.is_empty());
    found
}
