//! [`ProgressLine`]: how far a run is, on one line of a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::factory::Progress;

/// To the start of the line, and clear it.
const CLEAR: &str = "\r\x1b[K";

/// A line on standard error that each message replaces. Where that is no terminal, nothing is shown.
#[derive(Debug, Default)]
pub(crate) struct ProgressLine {
    shown: Arc<AtomicBool>,
}

impl ProgressLine {
    /// What takes the messages.
    pub(crate) fn taker(&self) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::default();
        }
        let shown = Arc::clone(&self.shown);
        Progress::new(move |line| {
            shown.store(true, Ordering::Relaxed);
            show(&format!("{CLEAR}{}", plain(line)));
        })
    }

    /// Takes the last message away.
    pub(crate) fn clear(&self) {
        if self.shown.swap(false, Ordering::Relaxed) {
            show(CLEAR);
        }
    }
}

/// A line of a terminal, whatever the names are that it tells of.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Where standard error is closed, nobody is there to be told.
fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_command_the_terminal() {
        assert_eq!(plain("B\u{1b}[2JDock\n\u{9b}1m: 2 pages"), "B [2JDock  1m: 2 pages");
    }
}
