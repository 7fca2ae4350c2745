//! Files are replaced as a whole or not at all: written beside their place, flushed, then renamed.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Explain;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It is larger than anything of its kind.
    #[error("read {}: larger than {limit} bytes", .path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    /// It is no text.
    #[error("read {}: not UTF-8 text", .0.display())]
    NotText(PathBuf),
    /// It exists, and nobody said to replace it.
    #[error("write {}: it exists already", .0.display())]
    Exists(PathBuf),
    /// It has no right to be written, for anybody: it could be replaced all the same, but somebody meant that.
    #[error("write {}: it is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// Somebody else wrote it in between.
    #[error("write {}: it was changed by somebody else meanwhile", .0.display())]
    Changed(PathBuf),
    /// Writing failed; what was there before is still there.
    #[error("write {}", .0.display())]
    Write(PathBuf, #[source] std::io::Error),
}

impl FileError {
    /// What is wrong, where the file's name stands beside it already.
    pub fn of_its_file(&self) -> String {
        match self {
            Self::Read(_, error) => format!("it cannot be read: {error}"),
            Self::TooLarge { limit, .. } => format!("larger than {limit} bytes"),
            Self::NotText(_) => "not UTF-8 text".to_owned(),
            Self::Exists(_) => "it exists already".to_owned(),
            Self::ReadOnly(_) => "it is read-only".to_owned(),
            Self::Changed(_) => "it was changed by somebody else meanwhile".to_owned(),
            Self::Write(_, error) => format!("it cannot be written: {error}"),
        }
    }
}

impl Explain for FileError {
    fn hint(&self) -> String {
        match self {
            Self::Read(..) => "check the path and its permissions".to_owned(),
            Self::TooLarge { .. } | Self::NotText(..) => "check that this is the file you meant".to_owned(),
            Self::Exists(_) => "choose another place, or replace it with --force".to_owned(),
            Self::ReadOnly(path) => {
                format!("it was not written; if it may be: chmod u+w {}", path.display())
            }
            Self::Changed(_) => "it was not written; run the command again".to_owned(),
            Self::Write(..) => "check the directory, its permissions and the free space".to_owned(),
        }
    }
}

/// What may be at the place a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Refuse,
    /// Anything: it is replaced.
    Replace,
}

/// Reads a file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let file = std::fs::File::open(path).map_err(|error| FileError::Read(path.into(), error))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| FileError::Read(path.into(), error))?;
    if bytes.len() as u64 > limit { Err(FileError::TooLarge { path: path.into(), limit }) } else { Ok(bytes) }
}

/// Reads a text file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, limit)?).map_err(|_| FileError::NotText(path.into()))
}

/// Whether a file can be written there, told before work is done for it.
pub fn check_place(path: &Path, existing: Existing) -> Result<(), FileError> {
    check_writable(path)?;
    match path.symlink_metadata() {
        Ok(_) if existing == Existing::Refuse => Err(FileError::Exists(path.into())),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(FileError::Write(path.into(), error)),
        _ if !directory(path).is_dir() => {
            Err(FileError::Write(path.into(), std::io::Error::from(ErrorKind::NotFound)))
        }
        _ => Ok(()),
    }
}

/// Whether a file that is there may be replaced, as any program that writes into it would find out.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    match path.metadata() {
        Ok(metadata) if metadata.permissions().readonly() => Err(FileError::ReadOnly(path.into())),
        _ => Ok(()),
    }
}

/// Writes a file in one step. `private` keeps others from reading it; otherwise it is like any file a person makes, or like
/// the one it replaces.
pub fn write(
    path: &Path,
    bytes: impl AsRef<[u8]>,
    existing: Existing,
    private: bool,
) -> Result<(), FileError> {
    if existing == Existing::Replace {
        check_writable(path)?;
    }
    // A link is followed to the file it names, so that the link itself survives.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    #[cfg(target_os = "linux")]
    if private && let Some(file) = nameless::write(directory(&place), bytes.as_ref()) {
        match nameless::name(&file, &place, existing) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(FileError::Exists(path.into()));
            }
            // Without /proc it gets no name.
            Err(_) => {}
        }
    }
    persist(path, &place, beside(path, &place, bytes.as_ref(), private)?, existing)
}

/// Private files have no name until they are complete: whatever ends the command, no plaintext of half a run lies around.
#[cfg(target_os = "linux")]
mod nameless {
    use std::fs::File;
    use std::io::{Error, Result, Write};
    use std::os::fd::AsRawFd;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

    use super::{Existing, directory};

    /// `None` where the file system has no such files; they are written under another name then.
    pub fn write(folder: &Path, bytes: &[u8]) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(open(folder, flags, Mode::RUSR | Mode::WUSR).ok()?);
        file.write_all(bytes).and_then(|()| file.sync_all()).ok()?;
        Some(file)
    }

    /// Gives it its name. Over another file it takes two steps: a name beside it, and the rename.
    pub fn name(file: &File, place: &Path, existing: Existing) -> Result<()> {
        let link = |to: &Path| {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, own, CWD, to, AtFlags::SYMLINK_FOLLOW).map_err(Error::from)
        };
        match link(place) {
            Err(error)
                if error.kind() == std::io::ErrorKind::AlreadyExists && existing == Existing::Replace => {}
            done => return done,
        }
        let mut builder = tempfile::Builder::new();
        let beside = builder.prefix(".touchseal-").make_in(directory(place), |path| link(path))?;
        beside.persist(place).map_err(|error| error.error)
    }
}

/// Replaces a file by another text, if it still is what was read.
pub fn exchange(path: &Path, before: &[u8], after: &[u8]) -> Result<(), FileError> {
    check_writable(path)?;
    let place = path.canonicalize().map_err(|_| FileError::Changed(path.into()))?;
    let new = beside(path, &place, after, false)?;
    let now = read(&place, before.len() as u64 + 1).map(Zeroizing::new);
    if !now.is_ok_and(|now| *now == before) {
        return Err(FileError::Changed(path.into()));
    }
    persist(path, &place, new, Existing::Replace)
}

/// The new file, complete, under another name.
fn beside(
    path: &Path,
    place: &Path,
    bytes: &[u8],
    private: bool,
) -> Result<tempfile::NamedTempFile, FileError> {
    let failed = |error| FileError::Write(path.into(), error);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".touchseal-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(if private { 0o600 } else { 0o666 }));
    }
    let mut file = builder.tempfile_in(directory(place)).map_err(failed)?;
    if let (Ok(before), false) = (place.metadata(), private) {
        as_before(file.as_file(), &before).map_err(failed)?;
    }
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    Ok(file)
}

/// The mode of the file that is replaced, whatever the umask; its owner and group where that is allowed, and no rights for
/// another group in its place.
#[cfg(unix)]
fn as_before(file: &std::fs::File, before: &std::fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let now = file.metadata()?;
    let mut mode = before.permissions().mode() & 0o777;
    if now.gid() != before.gid() && fchown(file, None, Some(before.gid())).is_err() {
        mode &= 0o707;
    }
    if now.uid() != before.uid() {
        let _ = fchown(file, Some(before.uid()), None);
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn as_before(_: &std::fs::File, _: &std::fs::Metadata) -> std::io::Result<()> {
    Ok(())
}

fn persist(
    path: &Path,
    place: &Path,
    file: tempfile::NamedTempFile,
    existing: Existing,
) -> Result<(), FileError> {
    let kept = match existing {
        Existing::Replace => file.persist(place).map(drop),
        Existing::Refuse => file.persist_noclobber(place).map(drop),
    };
    kept.map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => FileError::Exists(path.into()),
        _ => FileError::Write(path.into(), error.error),
    })
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write(&path, "one", Existing::Refuse, false).unwrap();
        assert!(matches!(write(&path, "two", Existing::Refuse, false), Err(FileError::Exists(_))));
        assert!(matches!(check_place(&path, Existing::Refuse), Err(FileError::Exists(_))));
        assert_eq!(read_text(&path, 10).unwrap(), "one");
        write(&path, "three", Existing::Replace, false).unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "three");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(matches!(read(&path, 4), Err(FileError::TooLarge { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn private_files_are_private_and_links_survive() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("x"), dir.path().join("link"));
        write(&path, "one", Existing::Refuse, true).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        symlink(&path, &link).unwrap();
        write(&link, "two", Existing::Replace, true).unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "two");
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn a_file_is_exchanged_only_if_it_is_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "one").unwrap();
        for changed in ["two", "one more", ""] {
            std::fs::write(&path, changed).unwrap();
            assert!(matches!(exchange(&path, b"one", b"new"), Err(FileError::Changed(_))));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
        }
        std::fs::write(&path, "one").unwrap();
        exchange(&path, b"one", b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(exchange(&path, b"new", b"newer"), Err(FileError::Changed(_))));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_nobody_may_write_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "one").unwrap();
        let mut rights = path.metadata().unwrap().permissions();
        rights.set_readonly(true);
        std::fs::set_permissions(&path, rights).unwrap();
        let tried = [
            check_writable(&path),
            check_place(&path, Existing::Replace),
            exchange(&path, b"one", b"new"),
            write(&path, "new", Existing::Replace, false),
            write(&path, "new", Existing::Replace, true),
        ];
        for done in tried {
            let error = done.unwrap_err();
            assert!(matches!(error, FileError::ReadOnly(_)), "{error}");
            assert!(error.to_string().contains("read-only") && error.hint().contains("chmod u+w"));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_mode_and_owner() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "one").unwrap();
        // Only root may give files away.
        let given = chown(&path, Some(4321), Some(4321)).is_ok();
        // More than any usual umask leaves.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        write(&path, "two", Existing::Replace, false).unwrap();
        let now = path.metadata().unwrap();
        assert_eq!(now.permissions().mode() & 0o777, 0o666);
        assert!(!given || (now.uid(), now.gid()) == (4321, 4321));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_private_file_has_no_name_until_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let path = dir.path().join("x");
        for (text, existing) in [("one", Existing::Refuse), ("two", Existing::Replace)] {
            let before = names();
            let file = nameless::write(dir.path(), text.as_bytes()).unwrap();
            assert_eq!(names(), before, "complete, and nowhere to be found");
            nameless::name(&file, &path, existing).unwrap();
            assert_eq!((read_text(&path, 10).unwrap().as_str(), names()), (text, 1));
        }
        let late = nameless::write(dir.path(), b"three").unwrap();
        let refused = nameless::name(&late, &path, Existing::Refuse).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(read_text(&path, 10).unwrap(), "two");
    }
}
