//! Which code an input reached. `make fuzz` builds with `-Cinstrument-coverage`, whose runtime, in continuous mode, keeps
//! its counters in a file that is mapped into this process: reading the file shows them as they are, on a stable
//! toolchain, without a line of unsafe code or a compiler besides rustc.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// A place in the code and about how often it was passed (the power of two).
pub type Feature = (u32, u8);

/// The counters of this process.
pub struct Coverage {
    file: File,
    before: Vec<u8>,
    after: Vec<u8>,
}

const WORD: usize = 8;

impl Coverage {
    /// `None` if this program was built without counters or told no file for them (`LLVM_PROFILE_FILE`, with `%c`).
    pub fn of_this_process() -> Option<Coverage> {
        let name = std::env::var("LLVM_PROFILE_FILE").ok()?;
        let file = File::open(name.strip_suffix("%c")?).ok()?;
        let size = usize::try_from(file.metadata().ok()?.len()).ok()?;
        let mut coverage = Coverage { file, before: vec![0; size], after: vec![0; size] };
        // Counters that count are counters: a build without them has an empty file or one that never changes.
        coverage.observe(|| touchseal_sops::Format::detect(b"a: 1\n")).1.first()?;
        Some(coverage)
    }

    /// Runs `action` and tells what it passed through. Everything in the file but the counters stays as it is, so whatever
    /// differs is a counter; they only grow.
    pub fn observe<T>(&mut self, action: impl FnOnce() -> T) -> (T, Vec<Feature>) {
        self.file.read_exact_at(&mut self.before, 0).expect("read the counters");
        let result = action();
        self.file.read_exact_at(&mut self.after, 0).expect("read the counters");
        let mut features = Vec::new();
        if self.before != self.after {
            for (place, (old, new)) in words(&self.before).zip(words(&self.after)).enumerate() {
                if old != new {
                    let grown = new.wrapping_sub(old);
                    let magnitude = u64::BITS - grown.leading_zeros();
                    features.push((u32::try_from(place).unwrap_or(u32::MAX), magnitude as u8));
                }
            }
        }
        (result, features)
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(WORD).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
}
