//! [`ExitStatus`]: the codes the shell ends with.

use std::process::ExitCode;

/// How a run ended. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// All went well; a reader that went away early counts as well.
    Success = 0,
    /// A `-c` failed.
    Command = 1,
    /// The command line made no sense.
    Usage = 2,
    /// An error stopped a script.
    Script = 3,
    /// A file or pond cannot be opened, a disk is full, or a commit met a conflict; wherever it happens.
    Io = 4,
    /// The user cancelled.
    Cancelled = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
