//! A private pcscd: the real program, on a socket of its own, that ends with its owner.
//!
//! pcscd has no option for its socket but takes one from systemd-style activation: file descriptor 3, `LISTEN_FDS=1` and
//! `LISTEN_PID`. The listening socket travels as the shell's standard input, which moves it to 3 and becomes pcscd. A
//! thread of its own starts and ends it, because the parent-death signal is tied to the thread that started the child.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

const BECOME_PCSCD: &str =
    "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec \"$0\" \"$@\"";

/// A running pcscd; killed when dropped.
pub struct Service {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts pcscd with the reader description in `config`, listening on `socket`, its messages in `messages`.
    pub fn start(program: &Path, config: &Path, socket: &Path, messages: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let output = File::create(messages)?;
        let errors = output.try_clone()?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", BECOME_PCSCD])
            .arg(program)
            .args(["--foreground", "--config"])
            .arg(config)
            .stdin(OwnedFd::from(listener))
            .stdout(output)
            .stderr(errors);
        let (stop, stopped) = channel();
        let (started, start) = channel();
        let keeper = std::thread::Builder::new()
            .name("softkey pcscd".into())
            .spawn(move || keep(command, &started, &stopped))?;
        start.recv().map_err(io::Error::other)??;
        Ok(Self { stop: Some(stop), keeper: Some(keeper) })
    }

    /// Whether pcscd has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.keeper.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            drop(keeper.join());
        }
    }
}

fn keep(mut command: Command, started: &Sender<io::Result<()>>, stopped: &Receiver<()>) {
    let spawned = command.spawn();
    // Our copy of the listening socket goes with the command: once pcscd ends, nobody listens.
    command.stdin(Stdio::null());
    drop(command);
    let mut child: Child = match spawned {
        Ok(child) => child,
        Err(error) => return drop(started.send(Err(error))),
    };
    drop(started.send(Ok(())));
    let tick = std::time::Duration::from_millis(50);
    while stopped.recv_timeout(tick) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
    }
    drop(child.kill());
    drop(child.wait());
}

/// Where pcscd is: the environment variable `PCSCD`, the system's, or one unpacked under `.cache/tools`.
pub fn find_pcscd() -> Option<PathBuf> {
    let given = std::env::var_os("PCSCD").map(PathBuf::from);
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/tools/sbin/pcscd");
    given.into_iter().chain([PathBuf::from("/usr/sbin/pcscd"), cached]).find(|path| path.is_file())
}
