//! A cluster's whole state put aside and brought back, as an administrator restores a backup of etcd: its data folder, copied
//! while it is stopped.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Cluster, ClusterError, Running};

impl Cluster {
    /// Copies etcd's data folder. The control plane is away meanwhile.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn snapshot(&self, name: &str) -> Result<PathBuf, ClusterError> {
        let copy = self.dir().join(format!("{name}.snapshot"));
        self.while_stopped(|data| copy_folder(data, &copy))?;
        Ok(copy)
    }

    /// Puts such a copy in the place of what etcd has: everything that was written since is lost, and versions of objects
    /// are given out again. Clients that knew the state before are to be started anew.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn restore(&self, snapshot: &Path) -> Result<(), ClusterError> {
        self.while_stopped(|data| {
            fs::remove_dir_all(data)?;
            copy_folder(snapshot, data)
        })
    }

    fn while_stopped(&self, act: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), ClusterError> {
        let mut running = self.running();
        let Running { controller_manager, apiserver, etcd } = &mut *running;
        [&mut *controller_manager, &mut *apiserver, &mut *etcd].into_iter().for_each(|part| part.kill());
        act(&self.etcd_data_dir()).map_err(ClusterError::Folder)?;
        *etcd = self.parts.start_etcd()?;
        *apiserver = self.parts.start_apiserver()?;
        self.parts.wait_until_ready(&mut [&mut *etcd, &mut *apiserver])?;
        *controller_manager = self.parts.start_controller_manager()?;
        Ok(())
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}
