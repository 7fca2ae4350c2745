//! The person's editor as a child process. While it runs, and until the end of the command, signals are noted here
//! instead of ending the process, so that nothing is left behind: Ctrl-C is the editor's own business (if it ends from it,
//! that is a cancel), a request to terminate is passed on to it.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tokio::process::Child;
use tokio::runtime::Runtime;

use crate::error::Explain;
use crate::terminal::TerminalError;

/// How long an editor that was asked to end may take.
#[cfg(unix)]
const GRACE: std::time::Duration = std::time::Duration::from_secs(3);
const DEFAULTS: [&str; 3] = ["vim", "nano", "vi"];

/// What is run, without the file's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    arguments: Vec<String>,
}

/// An editor that can be opened several times.
pub struct Editor {
    command: Command,
    runtime: Option<Runtime>,
    signals: Signals,
}

/// The answer to [`Editor::again`].
#[derive(Debug, PartialEq, Eq)]
pub enum Again {
    Yes,
    No,
}

/// Why there is no edited text.
#[derive(Debug, thiserror::Error)]
pub enum EditorError {
    #[error("find an editor: neither SOPS_EDITOR nor EDITOR is set, and there is no vim, nano or vi")]
    None,
    #[error("read {0}: its quotes do not match")]
    Quotes(&'static str),
    #[error("watch for signals")]
    Signals(#[source] std::io::Error),
    #[error("start the editor {}", .0.display())]
    Start(PathBuf, #[source] std::io::Error),
    #[error("the editor {} ended with {}", .0.display(), how(*.1))]
    Failed(PathBuf, ExitStatus),
    #[error("edit: cancelled")]
    Cancelled,
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

impl Explain for EditorError {
    fn hint(&self) -> String {
        match self {
            Self::None => "set EDITOR to one: EDITOR=nano".to_owned(),
            Self::Quotes(name) => format!("write it as a shell would take it: {name}='code --wait'"),
            Self::Signals(_) => "try again; nothing was changed".to_owned(),
            Self::Start(..) => "check SOPS_EDITOR and EDITOR".to_owned(),
            Self::Failed(..) | Self::Cancelled => {
                "nothing was changed; run the command again when ready".to_owned()
            }
            Self::Terminal(error) => error.hint(),
        }
    }
}

impl Command {
    /// As sops chooses: `SOPS_EDITOR`, `EDITOR`, then what is installed. Arguments are split as a shell does.
    pub fn of_environment() -> Result<Command, EditorError> {
        for name in ["SOPS_EDITOR", "EDITOR"] {
            if let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) {
                return Command::of(name, value);
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
        let found = DEFAULTS.iter().find(|name| installed(name)).ok_or(EditorError::None)?;
        Ok(Command { program: found.into(), arguments: Vec::new() })
    }

    fn of(name: &'static str, value: OsString) -> Result<Command, EditorError> {
        let Some(text) = value.to_str() else { return Ok(Command { program: value, arguments: Vec::new() }) };
        let mut words = shlex::split(text).ok_or(EditorError::Quotes(name))?.into_iter();
        let program = words.next().ok_or(EditorError::None)?;
        Ok(Command { program: program.into(), arguments: words.collect() })
    }
}

impl Editor {
    /// From here on to the end of the process, signals are taken by it.
    pub fn new(command: Command) -> Result<Editor, EditorError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(EditorError::Signals)?;
        let signals = {
            let _inside = runtime.enter();
            Signals::new().map_err(EditorError::Signals)?
        };
        Ok(Editor { command, runtime: Some(runtime), signals })
    }

    /// Opens a file and waits until the editor is done with it.
    pub fn edit(&mut self, file: &Path) -> Result<(), EditorError> {
        let (Some(runtime), program) = (&self.runtime, PathBuf::from(&self.command.program)) else {
            return Err(EditorError::Cancelled);
        };
        let signals = &mut self.signals;
        let mut command = tokio::process::Command::new(&self.command.program);
        command.args(&self.command.arguments).arg(file).kill_on_drop(true);
        let ended = runtime.block_on(async {
            let mut child = command.spawn()?;
            loop {
                tokio::select! {
                    status = child.wait() => return status.map(Some),
                    from = signals.next() => if from == Origin::Outside {
                        end(&mut child).await;
                        return Ok(None);
                    },
                }
            }
        });
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(EditorError::Failed(program, status)),
            Ok(None) => Err(EditorError::Cancelled),
            Err(error) => Err(EditorError::Start(program, error)),
        }
    }

    /// Asks whether to edit once more. Without a terminal there is nobody to do so.
    pub fn again(&mut self, question: &str) -> Result<Again, EditorError> {
        let (Some(runtime), true) = (&self.runtime, std::io::stdin().is_terminal()) else {
            return Ok(Again::No);
        };
        let signals = &mut self.signals;
        let mut stderr = std::io::stderr();
        let asked = write!(stderr, "{question} [Y/n] ").and_then(|()| stderr.flush());
        asked.map_err(|error| TerminalError::Io("another round", error))?;
        runtime.block_on(async {
            let (sender, answer) = tokio::sync::oneshot::channel();
            // Nothing ends a blocking read; after a signal the thread goes with the process.
            std::thread::spawn(move || {
                let mut line = String::new();
                let read = std::io::stdin().lock().read_line(&mut line);
                let _ = sender.send(read.map(|count| (count > 0).then_some(line)));
            });
            let answer = tokio::select! {
                biased;
                _ = signals.next() => return Err(EditorError::Cancelled),
                answer = answer => answer,
            };
            // What was typed behind a Ctrl-C is no answer: the signal came first, if it was noticed later.
            tokio::select! {
                biased;
                _ = signals.next() => Err(EditorError::Cancelled),
                () = tokio::task::yield_now() => match answer {
                    Ok(Ok(Some(line))) => Ok(meaning(&line)),
                    _ => Err(EditorError::Cancelled),
                },
            }
        })
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Only a clear no gives up what was typed.
fn meaning(answer: &str) -> Again {
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "n" | "no") { Again::No } else { Again::Yes }
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    }
}

/// Asks first, then insists.
async fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if tokio::time::timeout(GRACE, child.wait()).await.is_ok() {
            return;
        }
    }
    let _ = child.kill().await;
}

/// Who wants an end.
#[derive(PartialEq, Eq)]
enum Origin {
    /// Somebody at the keyboard: the editor gets the signal, too.
    Keyboard,
    /// Somebody else: it went to this process alone.
    Outside,
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 4]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) -> Origin {
        let [interrupt, quit, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => Origin::Keyboard,
            _ = quit.recv() => Origin::Keyboard,
            _ = terminate.recv() => Origin::Outside,
            _ = hangup.recv() => Origin::Outside,
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC, tokio::signal::windows::CtrlClose);

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::windows::{ctrl_c, ctrl_close};
        Ok(Signals(ctrl_c()?, ctrl_close()?))
    }

    async fn next(&mut self) -> Origin {
        tokio::select! {
            _ = self.0.recv() => Origin::Keyboard,
            _ = self.1.recv() => Origin::Outside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_a_shell_splits_them() {
        let of = |text: &str| Command::of("EDITOR", text.into());
        let command = of("code --wait 'a b'").unwrap();
        assert_eq!(
            (command.program, command.arguments),
            ("code".into(), vec!["--wait".into(), "a b".into()])
        );
        assert!(matches!(of("vi 'x"), Err(EditorError::Quotes("EDITOR"))));
        assert!(matches!(of("  "), Err(EditorError::None)));
    }

    #[test]
    fn what_was_typed_is_given_up_only_on_a_clear_no() {
        for (answer, meant) in
            [("\n", Again::Yes), ("y\n", Again::Yes), ("what\n", Again::Yes), (" No \n", Again::No)]
        {
            assert_eq!(meaning(answer), meant);
        }
    }
}
