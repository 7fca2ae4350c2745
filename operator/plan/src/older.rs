//! Earlier values of a Secret key that found no place in its entry's short list: enough to know one again, and up to when
//! what is forgotten for good was served.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::entry::PastValue;
use crate::entry::stamp;

/// Batches kept; the oldest is forgotten as a whole.
pub const MAX_BATCHES: usize = 4;
/// Values of one batch.
pub const BATCH: usize = 64;
/// Characters of a digest that are kept of a value: 24 bits, so that one of 65,000 new values is mistaken for one of 256 old
/// ones. Such a one counts as old, and the next new value does not.
const DIGITS: usize = 4;

/// What is left of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Older {
    /// Newest first.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    batches: Vec<Batch>,
    /// Some value is forgotten for good, or cannot be told from others any more; none was served after this moment.
    #[serde(rename = "d", default, with = "stamp::maybe", skip_serializing_if = "Option::is_none")]
    dropped: Option<Time>,
}

/// Values whose digests were made under one key generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredBatch", into = "StoredBatch")]
struct Batch {
    /// [`DIGITS`] characters each.
    digests: String,
    /// When the oldest of them is known to have existed.
    known: Time,
    /// None was served after this moment.
    until: Time,
    generation: u32,
}

impl Older {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.dropped.is_none()
    }

    /// Takes in a value that was not served after `until`.
    pub fn add(&mut self, value: &PastValue, until: &Time) {
        let PastValue { digest, known, generation } = value;
        let Some(digest) = digest.get(..DIGITS) else { return self.drop_until(until) };
        match self.batches.first_mut() {
            Some(batch) if batch.generation == *generation && batch.digests.len() < BATCH * DIGITS => {
                batch.digests.push_str(digest);
                batch.known = batch.known.clone().min(known.clone());
                batch.until = batch.until.clone().max(until.clone());
            }
            Some(_) | None => {
                let batch = Batch {
                    digests: digest.to_owned(),
                    known: known.clone(),
                    until: until.clone(),
                    generation: *generation,
                };
                self.batches.insert(0, batch);
                self.shrink(MAX_BATCHES);
            }
        }
    }

    /// Forgets all but the newest batches.
    pub fn shrink(&mut self, batches: usize) {
        for batch in self.batches.drain(batches.min(self.batches.len())..).collect::<Vec<_>>() {
            self.drop_until(&batch.until);
        }
    }

    /// Some value is forgotten for good; it was not served after `until`.
    pub fn drop_until(&mut self, until: &Time) {
        self.dropped = self.dropped.take().max(Some(until.clone()));
    }

    /// Until when values were served that nobody would know again.
    pub fn dropped(&self) -> Option<&Time> {
        self.dropped.as_ref()
    }

    /// Forgets what cannot be compared: digests of key generations that are not live.
    pub fn keep(&mut self, live: impl Fn(u32) -> bool) {
        for batch in self.batches.extract_if(.., |batch| !live(batch.generation)).collect::<Vec<_>>() {
            self.drop_until(&batch.until);
        }
    }

    /// When the value of these digests is known to have existed, where it is one of these; rather too early than too late.
    pub fn known<'d>(&self, digest: impl Fn(u32) -> Option<&'d str>) -> Option<Time> {
        let holds = |batch: &&Batch| {
            let wanted = digest(batch.generation).and_then(|digest| digest.get(..DIGITS));
            let digests = batch.digests.as_bytes().chunks(DIGITS);
            wanted.is_some_and(|wanted| digests.into_iter().any(|digest| digest == wanted.as_bytes()))
        };
        self.batches.iter().filter(holds).map(|batch| batch.known.clone()).min()
    }

    /// Key generations of the digests.
    pub fn generations(&self) -> impl Iterator<Item = u32> {
        self.batches.iter().map(|batch| batch.generation)
    }
}

/// digests, known, until, key generation.
type StoredBatch = (String, i64, i64, u32);

impl From<StoredBatch> for Batch {
    fn from((digests, known, until, generation): StoredBatch) -> Batch {
        Batch { digests, known: stamp::time(known), until: stamp::time(until), generation }
    }
}

impl From<Batch> for StoredBatch {
    fn from(batch: Batch) -> StoredBatch {
        (batch.digests, batch.known.0.as_second(), batch.until.0.as_second(), batch.generation)
    }
}
