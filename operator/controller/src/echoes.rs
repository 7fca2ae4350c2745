//! Statuses we wrote: which one stands while the watch still shows an older object, and which changes of a status are
//! nothing but the echo of our own hand.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use touchseal_crds::EncryptedSecretStatus;

use crate::secrets::{Key, newer};

/// Longest wait until a status that others changed is put right, and how long they have to leave it alone to be forgotten.
const PATIENCE: Duration = Duration::from_secs(60);
const FORGOTTEN: Duration = Duration::from_secs(5 * 60);

/// What is remembered of each EncryptedSecret.
#[derive(Default)]
pub struct Echoes(Mutex<HashMap<Key, Echo>>);

#[derive(Default)]
struct Echo {
    /// Hash of the status as it should be: the last one written, or found right.
    right: u64,
    /// Status written and not seen again yet, with the resourceVersion it was given. Without it a reconcile that runs in
    /// between would decide on an old status and write it again.
    unseen: Option<Box<(String, EncryptedSecretStatus)>>,
    /// What somebody else last made of it.
    others: Option<Others>,
}

struct Others {
    /// Hash of that status.
    status: u64,
    /// How often in a row it was changed before, and when last.
    times: u32,
    at: Instant,
}

impl Echoes {
    /// The status is right as it stands, or will be once the write that follows is done.
    pub fn right(&self, key: &Key, status: Option<&EncryptedSecretStatus>) {
        let hash = hash(status);
        self.lock().entry(key.clone()).or_default().right = hash;
    }

    /// Remembers a status that was written and stored at `resource_version`.
    pub fn wrote(&self, key: &Key, resource_version: &str, status: EncryptedSecretStatus) {
        self.lock().entry(key.clone()).or_default().unseen =
            Some(Box::new((resource_version.to_owned(), status)));
    }

    /// The status that stands for an object read at `resource_version`, where ours has not come back yet, and the version
    /// it was stored at.
    pub fn status(&self, key: &Key, resource_version: &str) -> Option<(String, EncryptedSecretStatus)> {
        let echoes = self.lock();
        let (stored, status) = &**echoes.get(key)?.unseen.as_ref()?;
        newer(stored, resource_version).then(|| (stored.clone(), status.clone()))
    }

    /// Takes in what the watch shows. Where somebody else changed the status, returns how long to wait until that is put right:
    /// somebody who does so again and again, as another operator by mistake, does not have both write without end.
    pub fn seen(
        &self,
        key: &Key,
        resource_version: &str,
        status: Option<&EncryptedSecretStatus>,
    ) -> Option<Duration> {
        let mut echoes = self.lock();
        let Some(echo) = echoes.get_mut(key) else { return Some(Duration::ZERO) };
        if echo.unseen.as_ref().is_some_and(|unseen| !newer(&unseen.0, resource_version)) {
            echo.unseen = None;
        }
        let status = hash(status);
        (echo.unseen.is_none() && echo.right != status).then(|| echo.patience(status, Instant::now()))
    }

    /// The object is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Echo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Echo {
    /// Nothing the first time, then a second and twice as long each time. One that is shown again is no further change.
    fn patience(&mut self, status: u64, now: Instant) -> Duration {
        let times = match &self.others {
            Some(others) if now.duration_since(others.at) >= FORGOTTEN => 0,
            Some(others) if others.status == status => others.times,
            Some(others) => others.times.saturating_add(1),
            None => 0,
        };
        self.others = Some(Others { status, times, at: now });
        let doubled = times.checked_sub(1).map(|doubled| Duration::from_secs(1 << doubled.min(6)));
        doubled.unwrap_or_default().min(PATIENCE)
    }
}

fn hash(status: Option<&EncryptedSecretStatus>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let text = status.and_then(|s| serde_json::to_string(s).ok()).unwrap_or_default();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("apps".to_owned(), "app".to_owned())
    }

    fn status(generation: i64) -> EncryptedSecretStatus {
        EncryptedSecretStatus { secret_generation: Some(generation), ..EncryptedSecretStatus::default() }
    }

    #[test]
    fn a_written_status_stands_until_the_watch_has_caught_up() {
        let echoes = Echoes::default();
        echoes.wrote(&key(), "12", status(2));
        // Version 11 is somebody else's change of metadata, made before our write: it still carries the old status.
        for older in ["9", "10", "11"] {
            assert_eq!(echoes.status(&key(), older), Some(("12".to_owned(), status(2))), "{older}");
        }
        for caught_up in ["12", "13", "100"] {
            assert_eq!(echoes.status(&key(), caught_up), None, "{caught_up}");
        }
    }

    #[test]
    fn what_the_watch_brought_back_is_not_kept() {
        let echoes = Echoes::default();
        echoes.right(&key(), Some(&status(2)));
        echoes.wrote(&key(), "12", status(2));
        assert_eq!(echoes.seen(&key(), "12", Some(&status(2))), None);
        assert!(echoes.lock().get(&key()).unwrap().unseen.is_none());
    }

    #[test]
    fn our_own_write_is_no_change_even_when_it_arrives_before_its_answer() {
        let echoes = Echoes::default();
        echoes.right(&key(), Some(&status(2)));
        assert_eq!(echoes.seen(&key(), "12", Some(&status(2))), None);
    }

    #[test]
    fn a_status_lost_or_edited_by_somebody_is_a_change() {
        let echoes = Echoes::default();
        echoes.right(&key(), Some(&status(2)));
        assert!(echoes.seen(&key(), "13", None).is_some());
        assert!(echoes.seen(&key(), "14", Some(&status(99))).is_some());
        assert_eq!(echoes.seen(&key(), "15", Some(&status(2))), None);
    }

    #[test]
    fn an_older_state_is_no_change_while_ours_is_on_its_way() {
        let echoes = Echoes::default();
        echoes.right(&key(), Some(&status(2)));
        echoes.wrote(&key(), "12", status(2));
        assert_eq!(echoes.seen(&key(), "11", Some(&status(1))), None);
    }

    #[test]
    fn nothing_is_known_of_a_new_or_forgotten_object() {
        let echoes = Echoes::default();
        assert!(echoes.seen(&key(), "1", None).is_some());
        echoes.right(&key(), None);
        echoes.forget(&key());
        assert!(echoes.seen(&key(), "2", None).is_some());
        assert!(echoes.lock().is_empty());
    }

    #[test]
    fn who_changes_it_again_and_again_is_put_right_later_and_later() {
        let (mut echo, now) = (Echo::default(), Instant::now());
        let waits: Vec<u64> = (0..9).map(|status| echo.patience(status, now).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        let mut shown_again = Echo::default();
        assert_eq!([0, 0, 1, 1].map(|status| shown_again.patience(status, now).as_secs()), [0, 0, 1, 1]);
        assert_eq!(echo.patience(9, now + FORGOTTEN), Duration::ZERO, "as if it had never happened");
    }
}
