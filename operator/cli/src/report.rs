//! Reports: HTML pages that need nothing but themselves, for people who never saw a terminal, on a screen or on paper.
//! What is shown comes from objects of the cluster, so all of it is escaped; the page runs no script and loads nothing.

mod incident;
mod page;
mod rotation;
mod timeline;

pub use incident::incident;
pub use rotation::rotation;

use std::path::Path;

use crate::error::Failure;
use crate::files::{self, Existing};
use crate::{output, terminal};

/// Writes a page to a file, replacing an earlier one, or to stdout for `-`.
pub fn write(place: &Path, page: &str) -> Result<(), Failure> {
    if place == Path::new("-") {
        return output::print(page);
    }
    files::write(place, page, Existing::Replace, false)?;
    terminal::say(&format!("wrote {}", place.display()));
    Ok(())
}

#[cfg(test)]
mod tests;
