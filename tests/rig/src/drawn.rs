//! Numbers that a seed determines, so that what a test did at random can be done again.

/// Knuth's MMIX generator, its upper half.
#[derive(Clone, Debug)]
pub struct Drawn(u64);

impl Drawn {
    /// From a seed.
    pub const fn new(seed: u64) -> Drawn {
        Drawn(seed)
    }

    /// From `TOUCHSEAL_SEED`, else from `usual`; says which, for whoever looks at a failed test.
    pub fn by_environment(usual: u64) -> Drawn {
        let seed = std::env::var("TOUCHSEAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
        println!("TOUCHSEAL_SEED={seed}");
        Drawn(seed)
    }

    /// One of the numbers below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The upper bits, for the lower ones of such a generator repeat.
        u32::try_from(self.0 >> 33).unwrap_or_default() % end.max(1)
    }

    /// Whether it is one of `chances` in a hundred.
    pub fn percent(&mut self, chances: u32) -> bool {
        self.below(100) < chances
    }

    /// One of these; None where there is none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let count = u32::try_from(among.len()).unwrap_or(u32::MAX);
        among.get(usize::try_from(self.below(count)).unwrap_or_default())
    }

    /// A seed for something of its own, which then does not depend on what is drawn here later.
    pub fn seed(&mut self) -> u64 {
        u64::from(self.below(u32::MAX)) << 32 | u64::from(self.below(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_all_of_them() {
        let numbers = |seed| {
            let mut drawn = Drawn::new(seed);
            (0..200).map(|_| drawn.below(6)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(11), numbers(11));
        assert_ne!(numbers(11), numbers(12));
        assert!((0..6).all(|number| numbers(11).contains(&number)));
        assert_eq!(Drawn::new(1).pick::<u8>(&[]), None);
    }
}
