//! Frames of the control link, in both directions: bytes off the stream are messages or refused, and
//! a message survives being written again.
#![no_main]

use std::fmt::Debug;

use kall_shared::frame::{decode, encode};
use kall_shared::link::{Request, ToControl, ToData};
use libfuzzer_sys::fuzz_target;

fn check<T>(bytes: &[u8]) -> Option<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let (message, used) = decode::<T>(bytes).ok()??;
    assert!(used <= bytes.len());
    let mut again = Vec::new();
    encode(&message, &mut again).expect("no longer than its fields allow");
    let (read, _) = decode::<T>(&again).expect("own output").expect("complete");
    assert_eq!(read, message);
    Some(message)
}

fuzz_target!(|bytes: &[u8]| {
    check::<ToControl>(bytes);
    if let Some(message) = check::<ToData>(bytes)
        && let Request::CreateSession { params, .. } | Request::UpdateSession { params, .. } = message.request
    {
        let _ = params.validate();
    }
});
