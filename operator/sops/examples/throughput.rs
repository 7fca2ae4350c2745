//! How many documents one core opens in a second of its time:
//! `cargo run --release -p touchseal-sops --example throughput -- IDENTITY FILE...`, say with `tests/vectors/sops`' own.

use std::time::{Duration, Instant};

use touchseal_sops::{Document, Format, Opener};

const LONG_ENOUGH: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let identity = std::fs::read_to_string(arguments.next().ok_or("which identity file?")?)?;
    let identity = identity.lines().find(|line| !line.starts_with('#')).ok_or("no identity in the file")?;
    let opener = Opener::new().with_x25519(identity.parse()?);
    for file in arguments {
        let bytes = std::fs::read(&file)?;
        let format = Format::from_file_name(&file).unwrap_or_else(|| Format::detect(&bytes));
        let parsing = rate(|| Document::parse(&bytes, format).map(drop))?;
        let document = Document::parse(&bytes, format)?;
        let opening = rate(|| document.decrypt_with(&opener).map(drop))?;
        let both = rate(|| -> Result<(), Box<dyn std::error::Error>> {
            Document::parse(&bytes, format)?.decrypt_with(&opener)?;
            Ok(())
        })?;
        println!(
            "{file}: {} bytes; parse {parsing:.0}/s, open {opening:.0}/s, both {both:.0}/s",
            bytes.len()
        );
    }
    Ok(())
}

fn rate<E>(mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let (start, processor) = (Instant::now(), processor_time());
    let mut count = 0u32;
    while start.elapsed() < LONG_ENOUGH {
        work()?;
        count += 1;
    }
    let spent = match (processor, processor_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => start.elapsed(),
    };
    Ok(f64::from(count) / spent.as_secs_f64())
}

/// This thread's processor time where Linux tells it, so that neighbours on the machine do not count.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
