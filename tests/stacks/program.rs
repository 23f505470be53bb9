//! Stacks that are programs of their own: they encode and decode live, and speak WHIP and WHEP themselves.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use kall_tests::wait::DEADLINE;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::decoded::{Decoded, PICTURES, SOUND_SECONDS};
use crate::matrix::{Coding, Stack};

/// A running peer. It stops when its standard input ends.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn publish(stack: Stack, url: &str, token: &str, coding: Coding) -> Self {
        Self::start(stack, &["publish", url, token, coding.name()])
    }

    fn start(stack: Stack, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (python, script) = match stack {
            // Debian's own interpreter, which the bindings are installed for.
            Stack::GStreamer => ("/usr/bin/python3".into(), "stacks/gstreamer_peer.py"),
            Stack::Aiortc => (
                folder.join("../.tools/stacks/bin/python"),
                "stacks/aiortc_peer.py",
            ),
            Stack::WebRtc | Stack::Str0m => unreachable!("a library"),
        };
        let mut child = Command::new(&python)
            .arg("-B")
            .arg(folder.join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{python:?}: {error} (deploy/install-tools.sh stacks installs it)")
            });
        let output = child.stdout.take().expect("it was asked for");
        Self {
            input: child.stdin.take(),
            output: BufReader::new(output).lines(),
            child,
        }
    }

    /// What it says next of this kind. None when it ended, or has not come to it in time.
    async fn event(&mut self, kind: &str) -> Option<Value> {
        let wanted = async {
            while let Ok(Some(line)) = self.output.next_line().await {
                match serde_json::from_str::<Value>(&line) {
                    Ok(value) if value["event"] == kind => return Some(value),
                    _ => {}
                }
            }
            None
        };
        tokio::time::timeout(DEADLINE, wanted).await.ok().flatten()
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// What it complained about.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        drop(self.input.take());
        let output = tokio::time::timeout(DEADLINE, self.child.wait_with_output()).await;
        let output = output
            .map_err(|_| "it does not end")?
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Plays until there is enough.
///
/// # Errors
/// How far it came, and what it complained about.
pub(crate) async fn play(
    stack: Stack,
    url: &str,
    token: &str,
    coding: Coding,
    folder: &Path,
) -> Result<Decoded, String> {
    let (pictures, seconds) = (PICTURES.to_string(), SOUND_SECONDS.to_string());
    let folder_text = folder.to_str().expect("a path in UTF-8");
    let mut program = Program::start(
        stack,
        &[
            "play",
            url,
            token,
            coding.name(),
            folder_text,
            &pictures,
            &seconds,
        ],
    );
    let decoded = program.event("decoded").await;
    program.stop().await?;
    let decoded = decoded.ok_or("it ended without a word")?;
    let number = |field: &str| decoded[field].as_u64().unwrap_or_default() as usize;
    let read = |name: &str| fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let sound = read("sound.s16")?;
    Ok(Decoded {
        pictures: number("frames"),
        width: number("width"),
        height: number("height"),
        picture: read("picture.i420")?,
        sound: sound
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| i16::from_le_bytes(*pair))
            .collect(),
    })
}
