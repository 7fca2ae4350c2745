//! A command in a real terminal (a pseudo-terminal of Python's standard library): what it asks is answered as a person
//! would type it.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::DEADLINE;
use crate::cli::{Laptop, Said};

/// Waits for each prompt in turn, types its answer, then reads to the end; with AGAIN, answers each prompt as often as it
/// comes, which is when a line of it waits to be ended. Everything shown goes to standard output; the exit code is the command's.
const TYPIST: &str = r#"
import os, pty, select, sys, termios, time
answers = [line.split("\t", 1) for line in os.environ["ANSWERS"].split("\n") if line]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
again = os.environ.get("AGAIN")
shown, seen, deadline = "", 0, time.monotonic() + float(os.environ["SECONDS_AT_MOST"])
while True:
    new = shown[seen:].rsplit("\n", 1)[-1] if again else shown[seen:]
    asked = [answer for answer in (answers if again else answers[:1]) if answer[0] in new]
    # Some programs prompt for a PIN first and turn the echo off then: nobody types as fast as that.
    if asked and not ("PIN" in asked[0][0] and termios.tcgetattr(terminal)[3] & termios.ECHO):
        seen = len(shown)
        os.write(terminal, (asked[0][1] + "\n").encode())
        if not again:
            answers.pop(0)
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        shown += "\n[nothing more came; answers: %r]" % [a[0] for a in answers]
        break
    if terminal not in select.select([terminal], [], [], 0.2)[0]:
        continue
    try:
        got = os.read(terminal, 4096)
    except OSError:
        break
    if not got:
        break
    shown += got.decode(errors="replace")
status = os.waitpid(pid, 0)[1]
print(shown)
sys.exit(os.waitstatus_to_exitcode(status) & 0xff)
"#;

impl Laptop {
    /// Runs a command in a terminal; `answers` are prompts, or parts of them, and what is typed at each.
    pub fn in_terminal(&self, arguments: &[&str], answers: &[(&str, &str)]) -> Said {
        self.in_terminal_with(&[], arguments, answers)
    }

    /// The same with more of an environment.
    pub fn in_terminal_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
        answers: &[(&str, &str)],
    ) -> Said {
        let answers: Vec<_> =
            answers.iter().map(|(prompt, answer)| ((*prompt).to_owned(), (*answer).to_owned())).collect();
        let mut command = Command::new(crate::binaries::touchseal());
        command.args(arguments);
        let mut python = typist(&command, &answers, DEADLINE);
        self.at_home(&mut python).env_remove("AGAIN").envs(environment.iter().copied());
        python.stdin(Stdio::null()).output().unwrap().into()
    }
}

/// A command that runs this one (its program and arguments) in a terminal and answers each prompt, or part of one, as often
/// as it comes.
pub(crate) fn typist(command: &Command, answers: &[(String, String)], at_most: Duration) -> Command {
    let answers: String = answers.iter().map(|(prompt, answer)| format!("{prompt}\t{answer}\n")).collect();
    let mut python = Command::new("python3");
    python.args(["-c", TYPIST]).arg(command.get_program()).args(command.get_args());
    python.env("ANSWERS", answers).env("AGAIN", "1").env("SECONDS_AT_MOST", at_most.as_secs().to_string());
    python
}
