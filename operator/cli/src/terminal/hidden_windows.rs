//! Hidden input on Windows, by the console.

use std::io::{Error, ErrorKind, Result};

use zeroize::{Zeroize, Zeroizing};

/// Errors: `NotFound` without a console, `InvalidData` beyond `max` bytes.
pub fn read_line(prompt: &str, max: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut text = rpassword::prompt_password(prompt).map_err(|_| Error::from(ErrorKind::NotFound))?;
    let line = Zeroizing::new(text.as_bytes().to_vec());
    text.zeroize();
    if line.len() > max { Err(ErrorKind::InvalidData.into()) } else { Ok(line) }
}
