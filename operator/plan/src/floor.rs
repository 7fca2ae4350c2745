//! The floor: the least number that new content is given, set by an administrator after a backup was restored. What was
//! given out after the backup is known to nobody in the cluster; numbers go on above it only if somebody says where.

use crate::observed::MAX_NUMBER;

/// What the administrator set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Floor {
    /// Nothing.
    #[default]
    None,
    /// This number.
    At(i64),
    /// Something that is no such number: no new one is given out until it is put right.
    Unreadable,
}

impl Floor {
    /// Highest floor: numbers above it are believed of no Secret, and would be the last ones to go on from.
    pub const MAX: i64 = MAX_NUMBER / 2;

    /// Reads what was set.
    pub fn parse(text: &str) -> Floor {
        match text.trim().parse() {
            Ok(number) if (1..=Floor::MAX).contains(&number) => Floor::At(number),
            _ => Floor::Unreadable,
        }
    }

    /// The number to give out where this one would be next.
    pub fn raise(self, next: i64) -> i64 {
        match self {
            Floor::At(floor) => next.max(floor),
            Floor::None | Floor::Unreadable => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_a_number_that_can_be_gone_on_from() {
        for (text, floor) in [
            ("1000", Floor::At(1000)),
            (" 7\n", Floor::At(7)),
            ("500000000", Floor::At(Floor::MAX)),
            ("500000001", Floor::Unreadable),
            ("0", Floor::Unreadable),
            ("-3", Floor::Unreadable),
            ("1e3", Floor::Unreadable),
            ("9223372036854775808", Floor::Unreadable),
            ("", Floor::Unreadable),
        ] {
            assert_eq!(Floor::parse(text), floor, "{text}");
        }
    }

    #[test]
    fn it_raises_and_never_lowers() {
        assert_eq!(Floor::At(1000).raise(3), 1000);
        assert_eq!(Floor::At(1000).raise(1000), 1000);
        assert_eq!(Floor::At(1000).raise(1001), 1001);
        assert_eq!(Floor::None.raise(3), 3);
    }
}
