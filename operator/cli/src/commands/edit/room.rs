//! The folder an editor works in: in memory, the person's alone, emptied and removed when it is dropped, whatever the
//! editor left in it. Rooms that a killed process left behind are emptied by the next.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::error::Explain;

const PREFIX: &str = "touchseal-edit-";
/// No document gets larger.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// One folder.
#[derive(Debug)]
pub struct Room {
    folder: TempDir,
    /// Locked as long as the process lives.
    _lock: Option<File>,
}

/// Why there is none, or what was in it is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    #[error("find a folder in memory for the editor: neither XDG_RUNTIME_DIR nor /dev/shm is one")]
    NoMemory,
    #[error("make a folder for the editor in {}", .0.display())]
    Create(PathBuf, #[source] io::Error),
    #[error("write the editor's copy")]
    Put(#[source] io::Error),
    #[error("read the editor's copy")]
    Take(#[source] io::Error),
    #[error("read the editor's copy: larger than {MAX_BYTES} bytes")]
    TooLarge,
}

impl Explain for RoomError {
    fn hint(&self) -> String {
        match self {
            Self::NoMemory if cfg!(not(target_os = "linux")) => {
                "no folder is known to be in memory on this system; with --insecure-tempdir the plaintext may be written to a disk"
                    .to_owned()
            }
            Self::NoMemory => {
                "mount a tmpfs at /dev/shm; with --insecure-tempdir the plaintext may be written to a disk"
                    .to_owned()
            }
            Self::Create(..) | Self::Put(_) => {
                "check the folder, its permissions and the free space".to_owned()
            }
            Self::Take(_) | Self::TooLarge => "nothing was changed; save under the same name".to_owned(),
        }
    }
}

impl Room {
    /// A new one. `insecure` takes the ordinary folder for temporary files.
    pub fn new(insecure: bool) -> Result<Room, RoomError> {
        let base = match insecure {
            true => std::env::temp_dir(),
            false => in_memory().ok_or(RoomError::NoMemory)?,
        };
        empty_abandoned(&base);
        Room::in_folder(&base)
    }

    fn in_folder(base: &Path) -> Result<Room, RoomError> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let folder = builder.tempdir_in(base).map_err(|error| RoomError::Create(base.to_owned(), error))?;
        let lock = File::open(folder.path()).ok().filter(|file| file.try_lock().is_ok());
        Ok(Room { folder, _lock: lock })
    }

    /// Writes a copy under the document's name, whose ending tells the editor what it is.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, RoomError> {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = name.chars().take(100).map(safe).collect();
        let folder =
            tempfile::Builder::new().prefix("").tempdir_in(self.folder.path()).map_err(RoomError::Put)?;
        let place = folder.keep().join(if name.starts_with('.') || name.is_empty() {
            format!("x{name}")
        } else {
            name
        });
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&place).map_err(RoomError::Put)?;
        file.write_all(bytes).map_err(RoomError::Put)?;
        Ok(place)
    }

    /// Reads it back, in one buffer that never grows.
    pub fn take(&self, place: &Path) -> Result<Zeroizing<Vec<u8>>, RoomError> {
        let mut file = File::open(place).map_err(RoomError::Take)?;
        let size = usize::try_from(file.metadata().map_err(RoomError::Take)?.len()).unwrap_or(usize::MAX);
        if size > MAX_BYTES {
            return Err(RoomError::TooLarge);
        }
        let mut bytes = Zeroizing::new(vec![0; size]);
        file.read_exact(&mut bytes).map_err(RoomError::Take)?;
        Ok(bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        empty(self.folder.path());
    }
}

/// Overwrites every file below a folder and removes it; best effort, one failure keeps nothing else from going.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                empty(&path);
                let _ = fs::remove_dir(&path);
            }
            Ok(kind) => {
                if kind.is_file()
                    && let Err(error) = overwrite(&path)
                {
                    tracing::warn!(%error, "a file of the editor's folder was removed without being overwritten");
                }
                let _ = fs::remove_file(&path);
            }
            Err(_) => {}
        }
    }
}

fn overwrite(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let mut file = File::options().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let zeros = [0_u8; 4096];
    while left > 0 {
        let count = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(count).unwrap_or(zeros.len())])?;
        left -= count;
    }
    file.sync_data()
}

/// Rooms whose process is gone: their lock is free.
fn empty_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_room = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && is_private(&path);
        // One that was made this moment may not be locked yet.
        let age =
            entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if !is_room || age.is_none_or(|age| age.as_secs() <= 10) {
            continue;
        }
        if File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
            empty(&path);
            let _ = fs::remove_dir(&path);
        }
    }
}

/// The first of the usual places that is in memory.
#[cfg(target_os = "linux")]
fn in_memory() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|folder| folder.is_absolute() && is_private(folder));
    own.into_iter().chain([PathBuf::from("/dev/shm")]).find(|folder| {
        // linux/magic.h
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        let kind = rustix::fs::statfs(folder).map(|statfs| u64::try_from(statfs.f_type).unwrap_or(0));
        folder.is_dir() && kind.is_ok_and(|kind| kind == TMPFS || kind == RAMFS)
    })
}

/// No folder is known to be in memory there.
#[cfg(not(target_os = "linux"))]
fn in_memory() -> Option<PathBuf> {
    None
}

/// Ours, and nobody else's to read.
#[cfg(unix)]
fn is_private(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = rustix::process::geteuid().as_raw();
    folder.symlink_metadata().is_ok_and(|metadata| metadata.uid() == ours && metadata.mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_room_leaves_nothing_and_what_was_in_it_is_overwritten() {
        let base = tempfile::tempdir().unwrap();
        let room = Room::in_folder(base.path()).unwrap();
        let place = room.put("shop/app/a b.yaml", b"password: hunter2\n").unwrap();
        assert_eq!(place.file_name().unwrap(), "a_b.yaml");
        assert_eq!(*room.take(&place).unwrap(), b"password: hunter2\n");
        // Another name of the same bytes, outside: what was in the room is read through it.
        let outside = base.path().join("outside");
        fs::hard_link(&place, &outside).unwrap();
        fs::create_dir(place.with_file_name("deep")).unwrap();
        fs::write(place.with_file_name("deep/.a b.yaml.swp"), "hunter2").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt, symlink};
            fs::set_permissions(&place, fs::Permissions::from_mode(0o400)).unwrap();
            let elsewhere = base.path().join("elsewhere");
            fs::write(&elsewhere, "not ours").unwrap();
            symlink(&elsewhere, place.with_file_name("link")).unwrap();
            assert_eq!(room.folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        drop(room);
        assert_eq!(fs::read(&outside).unwrap(), vec![0; 18]);
        #[cfg(unix)]
        assert_eq!(fs::read(base.path().join("elsewhere")).unwrap(), b"not ours", "links are not followed");
        let left = fs::read_dir(base.path()).unwrap().flatten().map(|entry| entry.file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(PREFIX)));
    }

    #[test]
    fn a_panic_empties_the_room() {
        let base = tempfile::tempdir().unwrap();
        let panicked = std::panic::catch_unwind(|| {
            let room = Room::in_folder(base.path()).unwrap();
            room.put("a.yaml", b"hunter2").unwrap();
            panic!("as a bug would");
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn abandoned_rooms_are_emptied_and_others_are_not() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32, age: u64| {
            let folder = base.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("a"), "hunter2").unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            File::open(&folder).unwrap().set_modified(then).unwrap();
            folder
        };
        let abandoned = make("touchseal-edit-1", 0o700, 60);
        let live = make("touchseal-edit-2", 0o700, 60);
        let fresh = make("touchseal-edit-3", 0o700, 0);
        let foreign = make("touchseal-edit-4", 0o755, 60);
        let lock = File::open(&live).unwrap();
        lock.try_lock().unwrap();
        empty_abandoned(base.path());
        let there: Vec<bool> =
            [abandoned, live, fresh, foreign].iter().map(|folder| folder.exists()).collect();
        assert_eq!(there, [false, true, true, true]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_memory_counts_as_memory() {
        let found = in_memory();
        let shm = rustix::fs::statfs("/dev/shm").is_ok_and(|statfs| statfs.f_type == 0x0102_1994);
        assert!(found.is_some() || !shm, "a tmpfs at /dev/shm is found");
    }
}
