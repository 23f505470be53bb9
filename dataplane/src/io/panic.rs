//! A panic anywhere ends the process, loudly: a core that died alone would take its calls with it unseen,
//! while the supervisor starts a new process at once.

use std::panic::PanicHookInfo;

use tracing::error;

/// Makes every panic a log line and an abort.
pub fn install() {
    std::panic::set_hook(Box::new(abort));
}

fn abort(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    error!(
        thread = thread.name().unwrap_or("unnamed"),
        location = %info.location().map(ToString::to_string).unwrap_or_default(),
        reason = info.payload_as_str().unwrap_or("no message"),
        backtrace = %std::backtrace::Backtrace::force_capture(),
        "panic: this is a bug"
    );
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Set for the copy of the test binary that is to panic.
    const VICTIM: &str = "KALL_TEST_PANIC";

    #[test]
    fn a_panic_of_any_thread_aborts_the_process_and_says_where() {
        if std::env::var_os(VICTIM).is_some() {
            tracing_subscriber::fmt()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .init();
            super::install();
            let thread = std::thread::Builder::new().name("core-5".to_owned());
            let victim = thread.spawn(|| panic!("on purpose")).expect("starts");
            let _ = victim.join();
            return;
        }
        let name = "io::panic::tests::a_panic_of_any_thread_aborts_the_process_and_says_where";
        let output = Command::new(std::env::current_exe().expect("this binary"))
            .args([name, "--exact", "--nocapture"])
            .env(VICTIM, "1")
            .output()
            .expect("starts");
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        for part in ["core-5", "on purpose", "panic.rs"] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}
