//! The floor of secret generations as an administrator sets it: a ConfigMap of the operator's namespace, where neither git
//! writers nor tenants reach. It is known before the first number of a term is given out, and followed from then on.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use touchseal_crds::names::{FLOOR_CONFIG_MAP, FLOOR_KEY};
use touchseal_plan::Floor;

use crate::words;

/// The floor, as last seen. None: it has not been read yet.
pub struct Floors(watch::Sender<Option<Floor>>);

impl Floors {
    /// Nothing read yet.
    pub fn new() -> Floors {
        Floors(watch::Sender::new(None))
    }

    /// The floor. Nothing is decided before it is known.
    pub fn get(&self) -> Floor {
        self.0.borrow().unwrap_or(Floor::Unreadable)
    }

    /// Waits until it is known.
    pub async fn known(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Ticks whenever it becomes another one.
    pub fn ticks(&self) -> watch::Receiver<Option<Floor>> {
        self.0.subscribe()
    }

    /// Follows it until the term ends.
    pub async fn follow(&self, client: Client, namespace: &str) {
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        let mut states = watcher::watch_object(api, FLOOR_CONFIG_MAP).default_backoff().boxed();
        while let Some(state) = states.next().await {
            match state {
                Ok(map) => self.see(read(map.as_ref())),
                Err(error) => {
                    let problem = words::of_watch(&error);
                    tracing::warn!(
                        problem,
                        "watch of ConfigMap {FLOOR_CONFIG_MAP} failed; it is tried again"
                    );
                }
            }
        }
    }

    fn see(&self, floor: Floor) {
        let changed = self.0.send_if_modified(|known| {
            let news = *known != Some(floor);
            *known = Some(floor);
            news
        });
        match floor {
            Floor::At(number) if changed => {
                tracing::info!(floor = number, "new secret generations are given no lower number");
            }
            Floor::Unreadable if changed => {
                tracing::error!(
                    "ConfigMap {FLOOR_CONFIG_MAP} sets no usable number under {FLOOR_KEY}; no secret generation is given out"
                );
            }
            Floor::At(_) | Floor::Unreadable | Floor::None => {}
        }
    }
}

fn read(map: Option<&ConfigMap>) -> Floor {
    let Some(map) = map else { return Floor::None };
    let text = map.data.as_ref().and_then(|data| data.get(FLOOR_KEY));
    text.map_or(Floor::Unreadable, |text| Floor::parse(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_config_map_there_is_no_floor_and_with_a_wrong_one_no_number() {
        let map = |key: &str| ConfigMap {
            data: Some([(key.to_owned(), "1000".to_owned())].into()),
            ..ConfigMap::default()
        };
        assert_eq!(read(None), Floor::None);
        assert_eq!(read(Some(&map("floor"))), Floor::At(1000));
        assert_eq!(read(Some(&map("Floor"))), Floor::Unreadable);
        assert_eq!(read(Some(&ConfigMap::default())), Floor::Unreadable);
        assert_eq!(Floors::new().get(), Floor::Unreadable, "nothing is known yet");
    }
}
