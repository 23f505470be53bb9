//! Waiting for a condition with a deadline. A test never sleeps for a guessed time: it looks again
//! until what it waits for is so, and says what that was when it never came.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a condition may take before the test fails. Generous: it is a bound on hanging, not a
/// measurement, and the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Time between two looks at a condition that can't be awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until `condition` gives a value.
///
/// # Panics
/// When [`DEADLINE`] passes first; the message names `what`.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain for: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Looks at a value until it satisfies `condition`, and gives it back.
///
/// # Panics
/// When [`DEADLINE`] passes first; the message names `what` and the last value.
pub async fn until_value<T: Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> T,
    condition: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let value = look().await;
        if condition(&value) {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {DEADLINE:?} in vain for: {what}; last seen: {value:?}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
