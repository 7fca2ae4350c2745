//! What hostile documents may cost. Each is opened by a process of its own, on a stack of 256 KiB, which tells the processor
//! time of its thread (neighbours on the machine do not count) and by how much its memory grew at most.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use touchseal_fuzz::shapes::{self, Shape};
use touchseal_sops::limits::MAX_BYTES;

/// 2.5 times the time for twice the size, so its square for four times; what is quadratic takes 16 times.
const TIMES: usize = 4;
/// Few enough values that the limits do not end it before the work begins.
const LARGE: usize = MAX_BYTES / 4;
/// The shapes that cost most, in time or memory: they are as large as a document may be.
const WORST: [&str; 10] = [
    "yaml-pattern-and-long-keys",
    "yaml-only-comments",
    "yaml-one-line-of-as-much-as-may-be",
    "yaml-giant-exponents",
    "yaml-sealed-long-value",
    "json-sealed-long-value",
    "binary-sealed",
    "dotenv-metadata",
    "ini-sealed-values",
    "ini-comments-at-ends",
];
/// Processes at a time.
const WORKERS: usize = 2;
const GROWTH: f64 = 2.5 * 2.5;
/// Below this, in microseconds, it is the machine that is measured.
const NOISE: f64 = 15_000.0;
/// In a build without optimisation.
const MOST_SECONDS: f64 = 10.0;
/// Bytes of memory for a byte of document, to start with, and the size that shorter documents count as: they may consist of
/// nothing but values, of which longer ones may not have more.
const MEMORY: f64 = 48.0;
const MEMORY_START: f64 = 4.0 * 1024.0 * 1024.0;
const MEMORY_SIZE: f64 = 256.0 * 1024.0;

struct Cost {
    micros: f64,
    peak: f64,
    bytes: f64,
    outcome: String,
}

fn cost(shape: &Shape, bytes: usize) -> Cost {
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz"))
        .args(["cost", shape.name, &bytes.to_string()])
        .output()
        .expect("start the program");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} of {bytes} bytes: {} {errors}", shape.name, output.status);
    let words: Vec<&str> = text.split_whitespace().collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| *word == name).expect("the name of a figure");
        words.get(at + 1).expect("the figure").to_string()
    };
    let number = |name: &str| value(name).parse::<f64>().expect("a number");
    Cost {
        micros: number("cpu_us"),
        peak: number("peak_kib") * 1024.0,
        bytes: number("bytes"),
        outcome: value("outcome"),
    }
}

/// What goes beyond a cap, as text. A busy machine is given a second and a third chance.
fn complaint(shape: &Shape) -> Option<String> {
    let name = shape.name;
    let bytes = if WORST.contains(&name) { MAX_BYTES } else { LARGE };
    let mut worst = None;
    for _ in 0..3 {
        let (small, large) = (cost(shape, bytes / TIMES), cost(shape, bytes));
        let asked = 0.7..1.05;
        assert!(asked.contains(&(large.bytes / bytes as f64)), "{name}: {} bytes, not {bytes}", large.bytes);
        assert_ne!(large.outcome, "NotPrinted", "{name}");
        let grown = (large.micros - NOISE) / small.micros.max(1.0);
        let memory = |cost: &Cost| (cost.peak - MEMORY_START) / cost.bytes.max(MEMORY_SIZE);
        let memory = memory(&small).max(memory(&large));
        if grown > GROWTH {
            let (small, large) = (small.micros, large.micros);
            worst = Some(format!("{name}: {small} us for {} bytes, {large} us for {bytes}", bytes / TIMES));
        } else if large.micros > MOST_SECONDS * 1e6 {
            worst = Some(format!("{name}: {} us", large.micros));
        } else if memory > MEMORY {
            worst = Some(format!("{name}: {memory:.1} bytes of memory for each of the document"));
        } else {
            return None;
        }
    }
    worst
}

#[test]
fn documents_cost_no_more_than_their_size() {
    for name in WORST {
        assert!(shapes::named(name).is_some(), "no shape {name}");
    }
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(shape) = shapes::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    complaints.lock().expect("complaints").extend(complaint(shape));
                }
            });
        }
    });
    let complaints = complaints.into_inner().expect("complaints");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_shapes_go_where_they_are_meant_to() {
    let outcome = |name: &str, bytes| cost(shapes::named(name).expect("a shape"), bytes).outcome;
    for name in [
        "yaml-sealed-values",
        "yaml-sealed-deep",
        "json-sealed-deep",
        "binary-sealed",
        "dotenv-sealed-values",
        "ini-sealed-values",
    ] {
        assert_eq!(outcome(name, 64 * 1024), "Opened", "{name}");
    }
    // The walk over all values is done; only then it is seen that the MAC is another document's.
    for name in [
        "yaml-many-keys",
        "yaml-long-keys",
        "yaml-comments",
        "yaml-long-paths",
        "yaml-many-values-far-down",
        "yaml-pattern-and-long-keys",
        "json-many-keys",
    ] {
        assert_eq!(outcome(name, 64 * 1024), "MacMismatch", "{name}");
    }
}
