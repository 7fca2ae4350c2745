//! Random numbers for tests: small and seeded, so that a failure can be replayed from its seed.

/// A generator (xorshift).
pub struct Random(u64);

impl Random {
    /// The generator of one seed; neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Random {
        Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed.max(1)))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// A number from `from` to before `to`.
    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(to.abs_diff(from))).unwrap_or_default()
    }
}
