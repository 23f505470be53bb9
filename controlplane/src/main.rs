//! `kall`: everything happens in the library, so that tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    kall_controlplane::cli::main()
}
