//! Loopback ports for the servers a test starts. A server that is told its port has to be given one that is still free
//! when it binds, also when several test programs look for ports at the same moment: so a port is claimed by a file lock,
//! which the kernel lets go with the process that holds it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below 32768, where Linux begins to hand out ports to outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of 127.0.0.1 that no other holder of a `Port` on this machine has, until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    claim: File,
}

impl Port {
    /// Claims one that nothing listens on.
    ///
    /// # Errors
    /// When the folder of claims cannot be made, or every port is taken.
    pub fn claim() -> Result<Self, PortError> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let claims = std::env::temp_dir().join("touchseal-ports");
        fs::create_dir_all(&claims).map_err(PortError::Claims)?;
        // For other users of this machine; it is only ours to change if we made it.
        let _ = fs::set_permissions(&claims, fs::Permissions::from_mode(0o1777));

        let own_start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (own_start.wrapping_mul(31).wrapping_add(step)) % COUNT;
            let Ok(claim) = File::create(claims.join(number.to_string())) else { continue };
            if claim.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, claim });
            }
        }
        Err(PortError::AllTaken)
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    /// Unlocked rather than only closed: a child between fork and exec has the file open, too, and would keep the lock.
    fn drop(&mut self) {
        let _ = self.claim.unlock();
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("making the folder of port claims")]
    Claims(#[source] std::io::Error),
    #[error("finding a free port: all of them are taken")]
    AllTaken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_a_claimed_port_or_one_in_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ports: Vec<_> = (0..200).map(|_| Port::claim().unwrap()).collect();
        let mut numbers: Vec<_> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 200);
        assert!(!numbers.contains(&listener.local_addr().unwrap().port()));

        let path = std::env::temp_dir().join("touchseal-ports").join(numbers[0].to_string());
        assert!(File::create(&path).unwrap().try_lock().is_err(), "the claim of a live port is locked");
        let inherited =
            ports.iter().find(|port| port.number() == numbers[0]).unwrap().claim.try_clone().unwrap();
        drop(ports);
        assert!(
            File::create(&path).unwrap().try_lock().is_ok(),
            "and free once it is dropped, even while a child that was just forked still has it open"
        );
        drop(inherited);
    }
}
