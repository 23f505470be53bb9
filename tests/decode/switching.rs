//! Fifty changes of layer, at random moments from a seed, for each codec over a good and a bad path.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kall_dataplane::time::Time;
use kall_network::{LinkConfig, Loss, Random};
use kall_shared::media::{Layer, SlotWish};

use crate::call::Call;
use crate::clip::{Clip, Coding, Frame};
use crate::ffmpeg::{self, Picture};
use crate::subscriber::Complete;

/// Changes of the layer that the receiver sees.
const CHANGES: usize = 50;

/// Time from a wish to the next one, in milliseconds: shorter and longer than a key frame takes.
const PAUSE: std::ops::Range<u64> = 100..2500;

/// Virtual time that more than suffices.
const END: Time = Time::from_millis(600_000);

/// Pictures between one that was lost for good and the key frame that made it useless.
const WAIT_MAX: usize = 10;

/// Before the first wish: the path has been measured by then.
const SETTLED: Time = Time::from_millis(8_000);

const LAYERS: [Layer; 3] = [Layer::Low, Layer::Medium, Layer::High];

/// A path of 50 ms there and back.
fn good() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(25),
        ..LinkConfig::default()
    }
}

/// The same with 2 % loss and packets that overtake each other.
fn bad() -> LinkConfig {
    LinkConfig {
        loss: Loss::Random(0.02),
        reorder: 0.02,
        held_back: Duration::from_millis(15),
        ..good()
    }
}

/// The call, with wishes until the receiver has seen enough changes. Gives back what came whole, and how
/// often the receiver wished.
fn call(clip: &std::sync::Arc<Clip>, path: &LinkConfig, seed: u64) -> (Call, Vec<Complete>, usize) {
    let mut call = Call::new(clip, path, seed);
    let mut random = Random::new(seed);
    call.wish(SlotWish::default());
    call.run_until(SETTLED);
    let mut layer = Layer::Auto;
    let mut wishes = 0;
    loop {
        let other: Vec<Layer> = LAYERS.into_iter().filter(|other| *other != layer).collect();
        layer = other[random.below(other.len() as u64) as usize];
        let max_fps = match (clip.coding, random.below(4)) {
            (Coding::Vp8Temporal, 0) => Some(8),
            (Coding::Vp8Temporal, 1) => Some(15),
            _ => None,
        };
        call.wish(SlotWish {
            layer,
            max_fps,
            ..SlotWish::default()
        });
        wishes += 1;
        let pause = PAUSE.start + random.below(PAUSE.end - PAUSE.start);
        call.run_until(call.now + Duration::from_millis(pause));
        let frames = call.subscriber.complete();
        if changes(clip, &frames) >= CHANGES {
            // What was lost last is sent again.
            call.run_until(call.now + Duration::from_secs(1));
            let frames = call.subscriber.complete();
            return (call, frames, wishes);
        }
        assert!(
            call.now < END,
            "{} changes after {wishes} wishes",
            changes(clip, &frames)
        );
    }
}

/// The picture of the clip that each of these is: byte for byte, nothing else may come.
fn sources<'a>(clip: &'a Clip, frames: &[Complete]) -> Vec<(usize, &'a Frame)> {
    let find = |frame: &Complete| clip.find(&frame.bytes).expect("a picture that was sent");
    frames.iter().map(find).collect()
}

/// What a receiver gives its decoder: after a picture that never became whole, nothing until the next key
/// frame. Also how long it had to wait for one, in pictures.
fn decodable(clip: &Clip, frames: &[Complete]) -> (Vec<Complete>, usize) {
    let (mut waited, mut longest) = (0, 0);
    let mut kept = Vec::new();
    for (frame, (_, source)) in frames.iter().zip(sources(clip, frames)) {
        let waits = !source.is_key && (waited > 0 || !frame.follows);
        waited = if waits { waited + 1 } else { 0 };
        longest = longest.max(waited);
        if !waits {
            kept.push(frame.clone());
        }
    }
    (kept, longest)
}

fn changes(clip: &Clip, frames: &[Complete]) -> usize {
    let layers: Vec<usize> = sources(clip, frames).iter().map(|(layer, _)| *layer).collect();
    layers.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

fn write(coding: Coding, frames: &[Complete], file: &Path) {
    let mut bytes = Vec::new();
    if coding != Coding::H264 {
        bytes.extend(*b"DKIF\0\0\x20\0");
        bytes.extend(match coding {
            Coding::Vp9 => *b"VP90",
            Coding::Av1 => *b"AV01",
            _ => *b"VP80",
        });
        bytes.extend([960u16, 544].map(u16::to_le_bytes).concat());
        // Ticks in a second, and seconds.
        bytes.extend(
            [90_000u32, 1, frames.len() as u32, 0]
                .map(u32::to_le_bytes)
                .concat(),
        );
    }
    let mut time = 0;
    let mut last = frames[0].timestamp;
    for frame in frames {
        if coding != Coding::H264 {
            time += u64::from(frame.timestamp.wrapping_sub(last));
            last = frame.timestamp;
            bytes.extend((frame.bytes.len() as u32).to_le_bytes());
            bytes.extend(time.to_le_bytes());
        }
        bytes.extend_from_slice(&frame.bytes);
    }
    fs::write(file, bytes).expect("the folder is ours");
}

/// Whatever layers they are of, two pictures of a slot are neighbours in one stream.
fn check_neighbours(before: &Complete, after: &Complete) {
    let ticks = after.timestamp.wrapping_sub(before.timestamp).cast_signed();
    assert!(ticks > 0, "time goes forward: {ticks}");
    let (Some(old), Some(new), true) = (before.description, after.description, after.follows) else {
        return;
    };
    let step = new.picture_id.wrapping_sub(old.picture_id) & 0x7fff;
    assert_eq!(step, 1, "{old:?} {new:?}");
    if let (Some((old_tl0, _)), Some((tl0, layer))) = (old.temporal, new.temporal) {
        assert_eq!(tl0.wrapping_sub(old_tl0), u8::from(layer == 0), "{old:?} {new:?}");
    }
}

fn check(coding: Coding) {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = Clip::encode(coding, folder.path());
    for (path, seed) in [(good(), 1), (bad(), 2)] {
        let (call, frames, wishes) = call(&clip, &path, seed);
        assert_eq!(call.counter("bug_egress_guard"), 0);
        for pair in frames.windows(2) {
            check_neighbours(&pair[0], &pair[1]);
        }
        let (frames, waited) = decodable(&clip, &frames);
        let sources = sources(&clip, &frames);

        let file = folder
            .path()
            .join(format!("forwarded-{seed}.{}", coding.extension()));
        write(coding, &frames, &file);
        let decoded = ffmpeg::decode(&file);
        assert_eq!(
            decoded.len(),
            frames.len(),
            "every picture that came whole is shown"
        );
        for (number, (picture, (_, source))) in decoded.iter().zip(&sources).enumerate() {
            assert_eq!(*picture, source.picture, "picture {number} of {}", frames.len());
        }
        let sizes: BTreeSet<u64> = decoded.iter().map(|Picture { bytes, .. }| *bytes).collect();
        assert_eq!(sizes.len(), LAYERS.len(), "every layer was shown: {sizes:?}");
        // What a key frame made useless is not sent again; everything else is.
        let is_good = path == good();
        assert!(
            waited <= if is_good { 0 } else { WAIT_MAX },
            "{waited} pictures lost in a row"
        );
        report(coding, &call, &sources, wishes);
    }
}

/// For whoever runs it with `--no-capture`.
#[expect(
    clippy::print_stdout,
    reason = "figures are for the reader of the test's output"
)]
fn report(coding: Coding, call: &Call, sources: &[(usize, &Frame)], wishes: usize) {
    let changes = sources.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    let shown = [0, 1, 2].map(|layer| sources.iter().filter(|(own, _)| *own == layer).count());
    println!(
        "{coding:?}: {} pictures decoded ({shown:?} by layer), {changes} changes of layer by {wishes} wishes in \
         {} s; {} packets repaired, {} gaps, {} key frames asked for",
        sources.len(),
        call.now.as_millis() / 1000,
        call.subscriber.repaired,
        call.subscriber.gaps(),
        call.publisher.plis,
    );
}

#[test]
fn vp8_decodes_through_changes_of_layer() {
    check(Coding::Vp8);
}

#[test]
fn vp8_in_temporal_layers_decodes_through_changes_of_layer() {
    check(Coding::Vp8Temporal);
}

#[test]
fn vp9_decodes_through_changes_of_layer() {
    check(Coding::Vp9);
}

#[test]
fn av1_decodes_through_changes_of_layer() {
    check(Coding::Av1);
}

#[test]
fn h264_decodes_through_changes_of_layer() {
    check(Coding::H264);
}
