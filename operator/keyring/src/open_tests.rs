//! What an open keyring says of itself.

use crate::testkit::{ID, keyring};

#[test]
fn debug_shows_the_id_and_the_generations_only() {
    let (_, open) = keyring();
    assert_eq!(format!("{open:?}"), format!("OpenKeyring({ID}, generations [1])"));
    open.seal();
}
