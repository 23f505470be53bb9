//! Makes sure the folder of the built web client is there, so that the crate compiles before the
//! client was built. The server then answers pages with 503 and the command that builds them.

use std::{env, fs, path::PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("web").join("dist");
    if let Err(error) = fs::create_dir_all(&dist) {
        println!("cargo:warning={}: {error}", dist.display());
    }
    println!("cargo:rerun-if-changed=web/dist");
    println!("cargo:rerun-if-changed=migrations");
}
