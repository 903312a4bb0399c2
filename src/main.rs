//! The `pondsql` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    pondsql::shell::main(std::env::args_os())
}
