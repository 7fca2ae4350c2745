//! Faults a test can plan: at which command the card misbehaves, and how.

use std::time::Duration;

/// How the card misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answer with this status word instead of performing the command.
    Status(u16),
    /// Leave the reader before performing the command.
    PullBefore,
    /// Perform the command, then leave the reader without answering.
    PullAfter,
    /// Wait this long, then perform the command.
    Delay(Duration),
}

/// At which command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The n-th complete command from now on (0 is the next one).
    Command(u64),
    /// The n-th command with this instruction byte from now on (0 is the next one).
    Instruction(u8, u64),
    /// Every command with this instruction byte.
    Every(u8),
}

#[derive(Default)]
pub(crate) struct Plan(Vec<(At, Fault)>);

impl Plan {
    pub(crate) fn add(&mut self, at: At, fault: Fault) {
        self.0.push((at, fault));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts this command and says whether a fault is due at it.
    pub(crate) fn due(&mut self, ins: u8) -> Option<Fault> {
        let mut due = None;
        self.0.retain_mut(|(at, fault)| {
            let left = match at {
                At::Every(wanted) => {
                    if *wanted == ins {
                        due = Some(*fault);
                    }
                    return true;
                }
                At::Instruction(wanted, _) if *wanted != ins => return true,
                At::Instruction(_, left) | At::Command(left) => left,
            };
            if *left == 0 {
                due = Some(*fault);
                return false;
            }
            *left -= 1;
            true
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_commands_and_instructions_apart() {
        let mut plan = Plan::default();
        plan.add(At::Command(1), Fault::Status(1));
        plan.add(At::Instruction(0x87, 1), Fault::Status(2));
        assert_eq!(plan.due(0x87), None);
        assert_eq!(plan.due(0x20), Some(Fault::Status(1)));
        assert_eq!(plan.due(0x20), None);
        assert_eq!(plan.due(0x87), Some(Fault::Status(2)));
        assert_eq!(plan.due(0x87), None);
    }
}
