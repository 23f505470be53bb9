//! Stack by codec by direction. Each publisher is played by GStreamer, each player plays GStreamer; where that lacks the
//! codec, the two crates are each other's partners.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use kall_tests::server::{Io, Options, Server, artifacts};
use kall_tests::signalling::Meeting;

use crate::clip::Clip;
use crate::library;
use crate::program::{self, Program};
use crate::sans_io;

/// A stack nobody of this project wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stack {
    GStreamer,
    Aiortc,
    WebRtc,
    Str0m,
}

impl Stack {
    const ALL: [Self; 4] = [Self::GStreamer, Self::Aiortc, Self::WebRtc, Self::Str0m];

    fn name(self) -> &'static str {
        match self {
            Self::GStreamer => "GStreamer `webrtcbin`",
            Self::Aiortc => "aiortc",
            Self::WebRtc => "`webrtc` crate",
            Self::Str0m => "`str0m` crate",
        }
    }

    /// Whether the stack has the codec at all.
    fn has(self, coding: Coding) -> bool {
        match self {
            // Its payloader of AV1 is in Rust, in a set of plugins that Debian does not have.
            Self::GStreamer => coding != Coding::Av1,
            Self::Aiortc => !matches!(coding, Coding::Vp9 | Coding::Av1),
            Self::WebRtc | Self::Str0m => true,
        }
    }

    /// Who is at the other end.
    fn partner(self, coding: Coding) -> Self {
        match self {
            _ if Self::GStreamer.has(coding) => Self::GStreamer,
            Self::WebRtc => Self::Str0m,
            _ => Self::WebRtc,
        }
    }
}

/// How pictures are coded; sound is always Opus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Vp8,
    H264,
    Vp9,
    Av1,
}

impl Coding {
    const ALL: [Self; 4] = [Self::Vp8, Self::H264, Self::Vp9, Self::Av1];

    /// As in a media type, in small letters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::H264 => "h264",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
        }
    }
}

/// A publisher that runs.
enum Publisher {
    Program(Box<Program>),
    Library(library::Peer),
    SansIo(sans_io::Publisher),
}

impl Publisher {
    async fn stop(self) -> Result<(), String> {
        match self {
            Self::Program(program) => program.stop().await,
            Self::Library(peer) => peer.stop().await,
            Self::SansIo(peer) => peer.stop().await,
        }
    }
}

/// One publisher and one player in a room of their own.
///
/// # Errors
/// What went wrong on either side.
async fn call(
    server: &Server,
    publisher: Stack,
    player: Stack,
    coding: Coding,
    clip: &Arc<Clip>,
) -> Result<(), String> {
    let meeting = Meeting::create(server, "Stacks").await;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let camera = meeting.guest(server, "Publisher").await;
    let screen = meeting.guest(server, "Player").await;
    let whip = format!("/whip/{}", meeting.slug);
    let whep = format!("/whep/{}", meeting.slug);
    let publishing = match publisher {
        Stack::GStreamer | Stack::Aiortc => {
            let program = Program::publish(publisher, &server.url(&whip), &camera, coding);
            Publisher::Program(Box::new(program))
        }
        Stack::WebRtc => Publisher::Library(library::publish(server, &whip, &camera, coding, clip).await?),
        Stack::Str0m => {
            Publisher::SansIo(sans_io::Publisher::start(server, &whip, &camera, coding, clip).await?)
        }
    };
    let decoded = match player {
        Stack::GStreamer | Stack::Aiortc => {
            program::play(player, &server.url(&whep), &screen, coding, folder.path()).await
        }
        Stack::WebRtc => library::play(server, &whep, &screen, coding, folder.path()).await,
        Stack::Str0m => sans_io::play(server, &whep, &screen, coding, folder.path()).await,
    };
    let stopped = publishing
        .stop()
        .await
        .map_err(|error| format!("publisher: {error}"));
    decoded.map_err(|error| format!("player: {error}"))?.check()?;
    stopped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stack_publishes_and_plays() {
    // AV1 is not among the codecs that a server has by default.
    let codecs = Coding::ALL.map(|coding| format!("{:?}", coding.name().to_uppercase()));
    let options = Options {
        extra: vec![("media", format!("codecs = [{}, \"opus\"]", codecs.join(", ")))],
        ..Io::IoUring.into()
    };
    let server = Server::start("stacks", options).await;
    let clips = tempfile::tempdir().expect("a folder");
    let mut page = String::from(PAGE);
    let mut failures = Vec::new();
    let mut rows: Vec<(Stack, Vec<String>)> = Stack::ALL.iter().map(|stack| (*stack, Vec::new())).collect();
    for coding in Coding::ALL {
        let clip = Clip::encode(coding, clips.path());
        for (stack, cells) in &mut rows {
            let partner = stack.partner(coding);
            for (publisher, player) in [(*stack, partner), (partner, *stack)] {
                if !stack.has(coding) {
                    cells.push("has no such codec".to_owned());
                    continue;
                }
                let outcome = call(&server, publisher, player, coding, &clip).await;
                cells.push(if outcome.is_ok() { "yes" } else { "**no**" }.to_owned());
                if let Err(error) = outcome {
                    failures.push(format!("{publisher:?} to {player:?}, {coding:?}: {error}"));
                }
            }
        }
    }
    for (stack, cells) in &rows {
        // Writing to a string can't fail.
        let _ = writeln!(page, "| {} | {} |", stack.name(), cells.join(" | "));
    }
    let folder = artifacts().join("stacks");
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join("matrix.md"), &page).expect("the page can be written");
    assert!(failures.is_empty(), "{}\n{page}", failures.join("\n"));
    assert_eq!(server.counter("bug_egress_guard").await, 0);
    assert_eq!(
        server.sessions().await,
        0,
        "every session was ended by its client"
    );
    server.stop().await;
}

const PAGE: &str = "# Independent stacks

Written by `make stacks`, from one run. Each stack publishes with WHIP what a partner plays with WHEP and decodes, and
plays what the partner publishes: colour bars in the named codec and a tone in Opus, for at least 60 pictures and a
second of sound. *yes* means that the bars and the tone came out at the other end.

The partner is GStreamer, for its own row too. But GStreamer as Debian has it has no payloads of AV1: there the two
crates are each other's partners, so each way between them is played twice, once for each one's row. A server has AV1
only if its configuration names it, as this one's does.

GStreamer and aiortc encode and decode live. The crates have no codecs: ffmpeg encodes what they send and decodes what
they received. Both put AV1 into packets, but only `str0m` has the way back: for the `webrtc` crate these tests put its
pictures together. GStreamer is given a certificate on P-256: its own are RSA, which the server does not take. The DTLS
of `str0m` is the server's own library.

| stack | VP8, publishes | VP8, plays | H264, publishes | H264, plays | VP9, publishes | VP9, plays | AV1, publishes | AV1, plays |
|---|---|---|---|---|---|---|---|---|
";
