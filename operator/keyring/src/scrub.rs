//! Leaving no copy behind: what hash functions, ciphers and curve arithmetic spill on the stack is overwritten after
//! every operation that touches a master key or a session key.
//!
//! Boxes that own a secret zeroize themselves; the copies that libraries make in their frames are out of their reach.

use std::hint::black_box;

/// How much stack below the caller is overwritten: deeper than the deepest frame of the libraries used here.
const DEPTH: usize = 64 * 1024;

/// Runs `operation` in frames of its own, then overwrites the stack those frames occupied.
///
/// The result crosses the caller's frame: it must be a box or public, never an array of secret bytes.
#[inline(never)]
pub fn scrubbed<R>(operation: impl FnOnce() -> R) -> R {
    let result = apart(operation);
    scrub_stack();
    result
}

/// Overwrites the 64 KiB of stack below the caller.
#[inline(never)]
pub fn scrub_stack() {
    let mut area = [0_u8; DEPTH];
    black_box(&mut area);
}

/// A frame of its own: without it the operation could be inlined into the frame that stays alive.
#[inline(never)]
fn apart<R>(operation: impl FnOnce() -> R) -> R {
    black_box(operation)()
}
