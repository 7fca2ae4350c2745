//! Where secrets of 32 bytes live: on pages of their own that the kernel is asked not to swap out (`mlock`).
//!
//! A page is locked once and never given back, so no lock of one secret ends with another's. Where the limit
//! (`RLIMIT_MEMLOCK`) forbids it, secrets live on an unlocked page, and [`state`] says so. Copies that libraries make on
//! the stack or in boxes of their own are not locked; they are short-lived or derived.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

/// Length of a secret in bytes.
const SECRET: usize = 32;
/// The smallest page there is; where pages are larger the whole page around is locked.
const PAGE: usize = 4096;

/// Whether secrets are kept from being swapped out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locking {
    /// Bytes that are locked.
    pub bytes: usize,
    /// Why some are not.
    pub trouble: Option<String>,
}

/// How it is so far: pages are made when they are needed.
pub fn state() -> Locking {
    pool().state.clone()
}

/// 32 bytes that stay in one place, zero at first and zeroized on drop. Moving them moves a pointer.
pub(crate) struct Locked(Option<Slot>);

type Slot = &'static mut [u8; SECRET];

impl Locked {
    pub(crate) fn zeroed() -> Self {
        Self(Some(pool().take()))
    }

    pub(crate) fn expose(&self) -> &[u8; SECRET] {
        self.0.as_deref().unwrap_or(&[0; SECRET])
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8; SECRET] {
        self.0.get_or_insert_with(|| pool().take())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.zeroize();
            pool().free.push(slot);
        }
    }
}

#[repr(align(4096))]
struct Page([u8; PAGE]);

struct Pool {
    /// All of them zero.
    free: Vec<Slot>,
    state: Locking,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), state: Locking { bytes: 0, trouble: None } });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    fn take(&mut self) -> Slot {
        loop {
            match self.free.pop() {
                Some(slot) => return slot,
                None => self.grow(),
            }
        }
    }

    fn grow(&mut self) {
        let page = Box::leak(Box::new(Page([0; PAGE])));
        match region::lock(page.0.as_ptr(), PAGE) {
            Ok(guard) => {
                std::mem::forget(guard); // it would unlock the page
                self.state.bytes += PAGE;
            }
            Err(error) => self.state.trouble = Some(error.to_string()),
        }
        self.free.extend(page.0.as_chunks_mut().0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_lie_apart_keep_their_place_and_are_zero_when_they_come_back() {
        let mut all: Vec<Locked> = (0..300).map(|_| Locked::zeroed()).collect();
        for (number, secret) in all.iter_mut().enumerate() {
            assert_eq!(secret.expose(), &[0; SECRET]);
            secret.expose_mut().fill(u8::try_from(number % 250).unwrap() + 1);
        }
        let places: std::collections::HashSet<_> = all.iter().map(|s| s.expose().as_ptr() as usize).collect();
        assert_eq!(places.len(), 300);
        let moved: Vec<Locked> = all.into_iter().rev().collect();
        assert!(moved.iter().all(|s| places.contains(&(s.expose().as_ptr() as usize))));
        for (number, secret) in moved.iter().rev().enumerate() {
            assert_eq!(secret.expose(), &[u8::try_from(number % 250).unwrap() + 1; SECRET]);
        }
        drop(moved);
        let again: Vec<Locked> = (0..300).map(|_| Locked::zeroed()).collect();
        assert!(again.iter().all(|secret| secret.expose() == &[0; SECRET]));
        let state = state();
        assert!(state.bytes > 0 || state.trouble.is_some(), "either it is so, or it is said: {state:?}");
    }
}
