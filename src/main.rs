//! The `pondsql` program: arguments in, exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// As DataFusion's own shell has it: planning a statement makes tens of thousands of small allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    pondsql::shell::main(std::env::args_os())
}
