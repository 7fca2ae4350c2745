//! Faults, each of which loses nothing: afterwards every Secret is right, numbers are right, no foreign Secret was touched, and
//! nothing needs a person beyond an unseal (`touchseal_suites::ordeal` judges that). What a test drew at random it does again with
//! the `TOUCHSEAL_SEED` that it prints.

mod answers;
mod apiserver;
mod ceremonies;
mod clock;
mod collector;
mod disk;
mod doubles;
mod kills;
mod memory;
mod namespaces;
mod watches;

use std::time::Duration;

use touchseal_rig::drawn::Drawn;

/// A pause that is drawn, up to so many milliseconds: where in what happens the next fault comes.
fn pause(drawn: &mut Drawn, most: u32) {
    std::thread::sleep(Duration::from_millis(drawn.below(most).into()));
}
