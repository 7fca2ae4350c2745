//! A real browser without a window, for pages of one's own: what it makes of a page, and a picture of it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::scratch::Scratch;
use crate::tools::{MissingTool, Tool};

/// Longest time for one page, in seconds; it takes less than one.
const PATIENCE: &str = "60";
const MARK: &str = "probe:";

/// What went wrong with the browser. `Debug` reads like `Display`, so that `unwrap` in a test prints a sentence.
#[derive(thiserror::Error)]
pub enum BrowserError {
    /// There is none.
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// It could not be started, or a file could not be written.
    #[error("running the browser: {0}")]
    Io(#[from] io::Error),
    /// It failed, hung, or gave no answer.
    #[error("the browser failed: {0}")]
    Failed(String),
}

impl std::fmt::Debug for BrowserError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A browser with a profile of its own, which goes with it. It reaches no network.
pub struct Browser {
    program: PathBuf,
    folder: Scratch,
}

impl Browser {
    /// # Errors
    /// There is no browser: it says what to do.
    pub fn new() -> Result<Self, BrowserError> {
        Ok(Self { program: Tool::Chromium.path()?, folder: Scratch::new("browser")? })
    }

    /// The page as the browser holds it after loading: markup that was text is still text.
    ///
    /// # Errors
    /// See [`BrowserError`].
    pub fn dom(&self, html: &str) -> Result<String, BrowserError> {
        let page = self.page(html)?;
        self.run(&["--dump-dom".into()], &page)
    }

    /// What a JavaScript expression comes to in the loaded page. The page must let a script run.
    ///
    /// # Errors
    /// See [`BrowserError`].
    pub fn evaluate(&self, html: &str, expression: &str, width: u32) -> Result<Value, BrowserError> {
        let script = format!(
            "<script>addEventListener('load', () => {{ let result; \
             try {{ result = {{ ok: {expression} }} }} catch (error) {{ result = {{ error: String(error) }} }} \
             const bytes = new TextEncoder().encode(JSON.stringify(result)); \
             document.body.textContent = '{MARK}' + Array.from(bytes, b => b.toString(16).padStart(2, '0')).join('') + ';'; \
             }})</script>"
        );
        let page = self.page(&format!("{html}{script}"))?;
        let dom = self.run(&["--dump-dom".into(), format!("--window-size={width},900").into()], &page)?;
        let answer = dom.rsplit_once(MARK).and_then(|(_, rest)| rest.split(';').next());
        let bytes = answer.and_then(|answer| hex::decode(answer).ok());
        let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match value {
            Some(mut value) if value.get("ok").is_some() => Ok(value["ok"].take()),
            Some(value) => Err(BrowserError::Failed(format!("{}", value["error"]))),
            None => Err(BrowserError::Failed("the page gave no answer: no script ran in it".to_owned())),
        }
    }

    /// A PNG of the page, `width` by `height`. The file goes with the browser; `TOUCHSEAL_RIG_KEEP` keeps it.
    ///
    /// # Errors
    /// See [`BrowserError`].
    pub fn picture(&self, html: &str, name: &str, width: u32, height: u32) -> Result<PathBuf, BrowserError> {
        let page = self.page(html)?;
        let picture = self.folder.path().join(format!("{name}.png"));
        let mut to = OsString::from("--screenshot=");
        to.push(&picture);
        self.run(&[to, format!("--window-size={width},{height}").into()], &page)?;
        if picture.is_file() {
            Ok(picture)
        } else {
            Err(BrowserError::Failed("it made no picture".to_owned()))
        }
    }

    fn page(&self, html: &str) -> Result<PathBuf, io::Error> {
        let page = self.folder.path().join("page.html");
        fs::write(&page, html)?;
        Ok(page)
    }

    fn run(&self, arguments: &[OsString], page: &Path) -> Result<String, BrowserError> {
        let mut profile = OsString::from("--user-data-dir=");
        profile.push(self.folder.path().join("profile"));
        let output = Command::new("timeout")
            .args(["--kill-after=5", PATIENCE])
            .arg(&self.program)
            // As root there is no other sandbox for it; it sees pages of our own only.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ])
            .arg(profile)
            .args(arguments)
            .arg(page)
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        Err(BrowserError::Failed(format!("{}; {}", output.status, last.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_loads_pages_runs_their_scripts_and_draws_them() {
        let browser = Browser::new().unwrap();
        let html = "<!DOCTYPE html><body><p id=a>f&uuml;r &lt;b&gt;</p>";
        assert!(browser.dom(html).unwrap().contains("<p id=\"a\">für &lt;b&gt;</p>"));
        let said =
            browser.evaluate(html, "[document.getElementById('a').textContent, innerWidth]", 700).unwrap();
        assert_eq!(said, serde_json::json!(["für <b>", 700]));
        let error = browser.evaluate(html, "nothing.there", 700).unwrap_err();
        assert!(error.to_string().contains("nothing is not defined"), "{error}");
        let picture = fs::read(browser.picture(html, "page", 320, 200).unwrap()).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        assert_eq!(picture[16..24], [0, 0, 1, 64, 0, 0, 0, 200], "320 by 200");
    }
}
