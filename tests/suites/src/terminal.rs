//! A command in a real terminal (a pseudo-terminal of Python's standard library): what it asks is answered as a person
//! would type it.

use std::process::{Command, Stdio};

use crate::cli::{Laptop, Said};

/// Waits for each prompt in turn, types its answer, then reads to the end. Everything shown goes to standard output; the
/// exit code is the command's.
const TYPIST: &str = r#"
import os, pty, select, sys, time
answers = [line.split("\t", 1) for line in os.environ["ANSWERS"].split("\n") if line]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown, seen, deadline = "", 0, time.monotonic() + 60
while True:
    if answers and answers[0][0] in shown[seen:]:
        seen = len(shown)
        os.write(terminal, (answers.pop(0)[1] + "\n").encode())
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        shown += "\n[nothing more came; still to answer: %r]" % [a[0] for a in answers]
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
        let answers: String =
            answers.iter().map(|(prompt, answer)| format!("{prompt}\t{answer}\n")).collect();
        let mut python = Command::new("python3");
        python.args(["-c", TYPIST]).arg(crate::binaries::touchseal()).args(arguments).env("ANSWERS", answers);
        self.at_home(&mut python).envs(environment.iter().copied());
        python.stdin(Stdio::null()).output().unwrap().into()
    }
}
