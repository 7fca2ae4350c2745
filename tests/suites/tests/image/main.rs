//! The operator's image: what is in it, who it runs as, how large it is, that the same program makes the same image, and
//! that its list of parts is the program's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use touchseal_rig::scratch::Scratch;
use touchseal_suites::image::{self, Image};
use touchseal_suites::world::repository;

/// What a registry keeps and a node pulls.
const BUDGET: u64 = 25 * 1024 * 1024;

/// An image in OCI's layout, unpacked: its manifest, its configuration and its files.
struct Unpacked {
    scratch: Scratch,
    manifest: Value,
    config: Value,
}

impl Unpacked {
    fn new(tar: &Path) -> Unpacked {
        let scratch = Scratch::new("image").unwrap();
        let (layout, files) = (scratch.path().join("layout"), scratch.path().join("files"));
        let untar = |tar: &Path, to: &Path| {
            fs::create_dir_all(to).unwrap();
            let status = Command::new("tar").arg("-C").arg(to).arg("-xpf").arg(tar).status().unwrap();
            assert!(status.success(), "{} is no tar file", tar.display());
        };
        untar(tar, &layout);
        let blob = |descriptor: &Value| {
            layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
        };
        let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let index = read(layout.join("index.json"));
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        let manifest = read(blob(&index["manifests"][0]));
        let config = read(blob(&manifest["config"]));
        for layer in manifest["layers"].as_array().unwrap() {
            untar(&blob(layer), &files);
        }
        Unpacked { scratch, manifest, config }
    }

    fn files(&self) -> PathBuf {
        self.scratch.path().join("files")
    }
}

#[test]
fn it_is_one_static_program_run_by_nobody_in_particular() {
    let image = Unpacked::new(&Image::built().tar());
    let names: BTreeSet<_> =
        fs::read_dir(image.files()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["LICENSE".into(), "touchseal-operator".into()]),
        "no shell, no library"
    );
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/touchseal-operator"]));

    // It starts where there is nothing else, as the user of the image.
    let ran = Command::new("chroot")
        .args(["--userspec=65532:65532", image.files().to_str().unwrap(), "/touchseal-operator", "--version"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(said.trim(), concat!("touchseal-operator ", env!("CARGO_PKG_VERSION")), "{ran:?}");
}

#[test]
fn it_says_what_it_is() {
    let image = Unpacked::new(&Image::built().tar());
    let labels = &image.config["config"]["Labels"];
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str().unwrap_or_default();
    assert_eq!(label("title"), "touchseal-operator");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), "Apache-2.0");
    assert!(!label("description").is_empty());
    let revision = label("revision");
    assert!(revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit()), "{revision:?}");
}

#[test]
fn it_is_small() {
    let image = Unpacked::new(&Image::built().tar());
    let sizes =
        image.manifest["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap());
    let size: u64 = sizes.sum();
    println!("the image is {:.1} MiB compressed", size as f64 / 1_048_576.0);
    assert!(size > 1024 * 1024, "hardly anything is in it");
    assert!(size <= BUDGET, "{size} bytes compressed");
}

#[test]
fn the_same_program_makes_the_same_image() {
    let built = Image::built();
    let scratch = Scratch::new("image").unwrap();
    let image = Unpacked::new(&built.tar());
    let program = image.files().join("touchseal-operator");
    let tar = scratch.path().join("again.tar");
    let revision = image.config["config"]["Labels"]["org.opencontainers.image.revision"].as_str().unwrap();
    let date = image.config["created"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
    let digest = |program: &Path| {
        let output = image::script(&["image", program.to_str().unwrap(), tar.to_str().unwrap()])
            .env("IMAGE_REVISION", revision)
            .env("SOURCE_DATE_EPOCH", date.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(digest(&program), built.digest());

    // Another program makes another image.
    let other = scratch.path().join("other");
    fs::write(&other, [&fs::read(&program).unwrap()[..], b"\n"].concat()).unwrap();
    assert_ne!(digest(&other), built.digest());
}

/// Otherwise who builds the same elsewhere gets another program.
#[test]
fn the_program_knows_no_folder_of_the_machine_that_built_it() {
    let image = Unpacked::new(&Image::built().tar());
    let program = fs::read(image.files().join("touchseal-operator")).unwrap();
    let holds = |text: &str| memchr::memmem::find(&program, text.as_bytes()).is_some();
    assert!(holds("/cargo/registry/"), "the search finds nothing at all");
    let root = repository().canonicalize().unwrap();
    let cargo =
        std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    for folder in [root.to_str().unwrap(), &cargo, "/.rustup/"] {
        assert!(!holds(folder), "{folder} is in the program");
    }
}

#[test]
fn its_list_of_parts_names_every_crate_it_is_built_from() {
    let sbom: Value = serde_json::from_slice(&fs::read(Image::built().sbom()).unwrap()).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
    let named =
        |part: &Value| format!("{} v{}", part["name"].as_str().unwrap(), part["version"].as_str().unwrap());
    assert_eq!(
        named(&sbom["metadata"]["component"]),
        concat!("touchseal-controller v", env!("CARGO_PKG_VERSION"))
    );
    let listed: BTreeSet<String> = sbom["components"].as_array().unwrap().iter().map(named).collect();

    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--package=touchseal-controller", "--edges=normal,build"])
        .args(["--prefix=none", "--format={p}", "--target", &target])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let built: BTreeSet<String> = tree
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty() && !part.starts_with("touchseal-controller "))
        .collect();
    assert!(built.len() > 100, "{built:?}");
    let missing: Vec<_> = built.difference(&listed).collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
    // Cargo tells the features of the workspace as a whole, so what only others turn on is listed, too; not more than that.
    let more: Vec<_> = listed.difference(&built).collect();
    assert!(more.len() < 20 && !more.iter().any(|part| part.starts_with("touchseal-")), "{more:?}");

    let text = sbom.to_string();
    let root = repository().canonicalize().unwrap();
    assert!(!text.contains(root.to_str().unwrap()), "it names a folder of this machine");
}
