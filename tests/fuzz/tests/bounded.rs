//! Every target over the vectors, the kept corpus and mutants of them; `TOUCHSEAL_FUZZ_SEED` for other mutants.
//! On a stack of 256 KiB, so that what recurses too deep shows.

use touchseal_fuzz::{Target, bounded, corpus, targets};

const SEED: u64 = 0x5ea1;
const STACK: usize = 256 * 1024;

fn seed() -> u64 {
    std::env::var("TOUCHSEAL_FUZZ_SEED").ok().map_or(SEED, |text| text.parse().expect("a number"))
}

fn run(target: &'static Target, mutants: usize) {
    let thread = std::thread::Builder::new().stack_size(STACK).name(target.name.to_owned());
    let running = thread.spawn(move || bounded::run(target, seed(), mutants)).expect("a thread");
    let outcome = running.join().expect("the run ends");
    assert!(outcome.is_ok(), "{}", outcome.err().unwrap_or_default());
}

macro_rules! tests {
    ($($test:ident $name:literal $mutants:literal;)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(#[test] fn $test() { run(targets::named($name).expect("a target"), $mutants); })*
    };
}

tests! {
    yaml "yaml" 1200;
    json "json" 2500;
    dotenv "dotenv" 2500;
    ini "ini" 2500;
    binary "binary" 2500;
    metadata_yaml "metadata-yaml" 2500;
    metadata_json "metadata-json" 2500;
    metadata_dotenv "metadata-dotenv" 2500;
    metadata_ini "metadata-ini" 2500;
    lookup "lookup" 2500;
    age "age" 1200;
    sealed "sealed" 2500;
    manifest "manifest" 2500;
    manifest_yaml "manifest-yaml" 2500;
    keyring_texts "keyring-texts" 2500;
    template "template" 2500;
    write_yaml "write-yaml" 500;
    write_json "write-json" 1000;
    write_dotenv "write-dotenv" 1000;
    write_ini "write-ini" 1000;
    write_binary "write-binary" 1000;
}

#[test]
fn every_target_is_run_and_every_corpus_has_a_target() {
    for target in targets::ALL {
        assert!(TESTED.contains(&target.name), "{} is not run here", target.name);
        assert!(!target.seeds().is_empty(), "{} has no seeds", target.name);
    }
    for file in corpus::files().iter().filter(|file| *file != "failed") {
        let name = file.strip_suffix(".txt").expect("a text file");
        assert!(targets::named(name).is_some(), "{file} belongs to no target");
    }
}

#[test]
fn a_fault_is_reported_with_its_input() {
    const FAULTY: Target = Target {
        name: "faulty",
        run: |input| assert!(!input.starts_with(b"\x00"), "broken"),
        vectors: || vec![b"good".to_vec(), b"\0 bad\n".to_vec()],
    };
    let report = bounded::run(&FAULTY, 1, 0).expect_err("a fault");
    assert!(report.contains("broken") && report.contains("\\x00 bad\\n"), "{report}");
}
