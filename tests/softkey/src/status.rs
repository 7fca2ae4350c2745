//! Asks pcscd which of its slots hold a card, in pcscd's own client protocol (version 4), without linking its library.
//!
//! libpcsclite remembers the first socket it used for the life of a process; a test process with several private pcscd
//! could not use it. Only two messages are needed: version and reader states.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

const VERSION: u32 = 0x11;
const READER_STATES: u32 = 0x12;
const MOST_READERS: usize = 16;
const NAME_LENGTH: usize = 128;
const STATE_LENGTH: usize = 184;
const PRESENT: u32 = 0x4;

/// A slot as pcscd's clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotState {
    pub name: String,
    pub present: bool,
}

/// The slots pcscd knows.
pub fn slots(socket: &Path) -> io::Result<Vec<SlotState>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let version: Vec<u8> = [4u32, 4, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    request(&mut stream, VERSION, &version)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    request(&mut stream, READER_STATES, &[])?;
    let mut states = [0; MOST_READERS * STATE_LENGTH];
    stream.read_exact(&mut states)?;
    Ok(states.chunks_exact(STATE_LENGTH).filter_map(read_state).collect())
}

fn request(stream: &mut UnixStream, command: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_ne_bytes(), &command.to_ne_bytes(), body].concat())
}

/// Name (128 bytes), event counter, state flags, sharing, ATR.
fn read_state(state: &[u8]) -> Option<SlotState> {
    let (name, rest) = state.split_at_checked(NAME_LENGTH)?;
    let name: Vec<u8> = name.iter().copied().take_while(|&byte| byte != 0).collect();
    let flags = u32::from_ne_bytes(rest.get(4..8)?.try_into().ok()?);
    let name = String::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    Some(SlotState { name, present: flags & PRESENT != 0 })
}
