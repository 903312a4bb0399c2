//! The `pondsql` program: arguments in, exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// As DataFusion's own shell has it: planning a statement makes tens of thousands of small allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    #[cfg(unix)]
    begin_anew();
    pondsql::shell::main(std::env::args_os())
}

/// With a limit to its memory, the program begins anew with an allocator that gives memory back after a tenth of a second.
///
/// By itself it does so after a whole second, which is faster; but a scan frees hundreds of megabytes in that time, and takes
/// others. The allocator reads its settings from the environment, before any of this program runs. Where the program cannot
/// be started again it goes on, and may hold more than the limit for a while.
#[cfg(unix)]
fn begin_anew() {
    use std::io::Write;
    use std::os::unix::process::CommandExt;

    const DELAY: &str = "MIMALLOC_PURGE_DELAY";
    let is_limited = |word: std::ffi::OsString| word.to_str().is_some_and(|word| word.starts_with("--memory"));
    if std::env::var_os(DELAY).is_some() || !std::env::args_os().any(is_limited) {
        return;
    }
    let (mut words, Ok(program)) = (std::env::args_os(), std::env::current_exe()) else { return };
    let name = words.next().unwrap_or_else(|| program.clone().into());
    let failed = std::process::Command::new(program).arg0(name).args(words).env(DELAY, "100").exec();
    // What is lost is memory, not the answer; and whether anybody reads this is no reason to stop.
    drop(writeln!(std::io::stderr(), "warning: more memory than the limit may be held for a while: {failed}"));
}
