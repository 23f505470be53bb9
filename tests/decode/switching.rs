//! Fifty changes of layer, at random moments from a seed, for each codec over a good and a bad path.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kall_dataplane::time::Time;
use kall_network::{LinkConfig, Loss, Random};
use kall_shared::media::{Codec, Layer, SlotWish};

use crate::call::Call;
use crate::clip::{Clip, Coding, Frame, Layering, Leaning, RATE};
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

/// Of the clock of pictures, in a second.
const TICKS: u32 = 90_000;

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
        let max_fps = match random.below(4) {
            0 if clip.coding.is_temporal() => Some(8),
            1 if clip.coding.is_temporal() => Some(15),
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
        let waits = !source.place.is_key() && (waited > 0 || !frame.follows);
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
    let codec = match coding.codec {
        Codec::H264 => {
            let stream: Vec<&[u8]> = frames.iter().map(|frame| &frame.bytes[..]).collect();
            fs::write(file, stream.concat()).expect("the folder is ours");
            return;
        }
        Codec::Vp9 => *b"VP90",
        Codec::Av1 => *b"AV01",
        _ => *b"VP80",
    };
    let mut time = 0;
    let mut last = frames[0].timestamp;
    let mut timed = Vec::new();
    for frame in frames {
        time += u64::from(frame.timestamp.wrapping_sub(last));
        last = frame.timestamp;
        timed.push((time, frame.bytes.clone()));
    }
    let bytes = ffmpeg::ivf(codec, (960, 544), TICKS, &timed);
    fs::write(file, bytes).expect("the folder is ours");
}

/// The decoders that a picture in these layers is for; ffmpeg's own one for VP9 would show every layer of a picture.
fn decoders(coding: Coding) -> &'static [&'static [&'static str]] {
    match (coding.codec, coding.layers) {
        (Codec::Vp9, Layering::Svc(_)) => &[&["-c:v", "libvpx-vp9"]],
        (Codec::Av1, _) => &[&["-c:v", "libdav1d"], &["-c:v", "libaom-av1"]],
        _ => &[&[]],
    }
}

/// Whatever layers they are of, two pictures of a slot are neighbours in one stream.
fn check_neighbours(coding: Coding, (before, after): (&Complete, &Complete), is_key: bool) {
    let ticks = after.timestamp.wrapping_sub(before.timestamp).cast_signed();
    assert!(ticks > 0, "time goes forward: {ticks}");
    let (Some(old), Some(new), true) = (before.description, after.description, after.follows) else {
        return;
    };
    if coding.leaning().is_some() {
        check_ids(
            coding,
            ticks.cast_unsigned(),
            (old.picture_id, new.picture_id),
            is_key,
        );
        return;
    }
    let step = new.picture_id.wrapping_sub(old.picture_id) & 0x7fff;
    assert_eq!(step, 1, "{old:?} {new:?}");
    if let (Some((old_tl0, _)), Some((tl0, layer))) = (old.temporal, new.temporal) {
        assert_eq!(tl0.wrapping_sub(old_tl0), u8::from(layer == 0), "{old:?} {new:?}");
    }
}

/// Frames name what they lean on by distance, so that ids go on as at the source, whatever was left out.
fn check_ids(coding: Coding, ticks: u32, (old, new): (u16, u16), is_key: bool) {
    let pictures = (ticks + TICKS / RATE as u32 / 2) / (TICKS / RATE as u32);
    let (frames, mask) = if coding.codec == Codec::Av1 {
        (3, u16::MAX)
    } else {
        (1, 0x7fff)
    };
    let step = u32::from(new.wrapping_sub(old) & mask);
    // The first frame of a picture of which the lower ones were left out has a higher number.
    let expected = frames * (pictures - 1) + 1..=frames * (pictures + 1) - 1;
    assert!(
        is_key || expected.contains(&step),
        "{old} {new} in {pictures} pictures"
    );
}

fn check(coding: Coding) {
    let folder = tempfile::tempdir().expect("a folder");
    let clip = Clip::encode(coding, folder.path());
    for (path, seed) in [(good(), 1), (bad(), 2)] {
        let (call, frames, wishes) = call(&clip, &path, seed);
        assert_eq!(call.counter("bug_egress_guard"), 0);
        for (pair, (_, source)) in frames.windows(2).zip(sources(&clip, &frames).iter().skip(1)) {
            check_neighbours(coding, (&pair[0], &pair[1]), source.place.is_key());
        }
        let (frames, waited) = decodable(&clip, &frames);
        let sources = sources(&clip, &frames);

        let file = folder
            .path()
            .join(format!("forwarded-{seed}.{}", coding.extension()));
        write(coding, &frames, &file);
        for decoder in decoders(coding) {
            let decoded = ffmpeg::decode(&file, decoder);
            assert_eq!(
                decoded.len(),
                frames.len(),
                "every picture that came whole is shown: {decoder:?}"
            );
            for (number, (picture, (_, source))) in decoded.iter().zip(&sources).enumerate() {
                let of = frames.len();
                assert_eq!(*picture, source.picture, "picture {number} of {of}: {decoder:?}");
            }
            let sizes: BTreeSet<u64> = decoded.iter().map(|Picture { bytes, .. }| *bytes).collect();
            assert_eq!(sizes.len(), LAYERS.len(), "every layer was shown: {sizes:?}");
        }
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
    check(Coding::simulcast(Codec::Vp8));
}

#[test]
fn vp8_in_temporal_layers_decodes_through_changes_of_layer() {
    check(Coding {
        codec: Codec::Vp8,
        layers: Layering::Temporal,
    });
}

#[test]
fn vp9_decodes_through_changes_of_layer() {
    check(Coding::simulcast(Codec::Vp9));
}

#[test]
fn vp9_in_spatial_layers_decodes_through_changes_of_layer() {
    check(Coding::svc(Codec::Vp9, Leaning::Always));
}

#[test]
fn vp9_in_spatial_layers_of_key_pictures_decodes_through_changes_of_layer() {
    check(Coding::svc(Codec::Vp9, Leaning::KeyPictures));
}

#[test]
fn av1_decodes_through_changes_of_layer() {
    check(Coding::simulcast(Codec::Av1));
}

#[test]
fn av1_in_spatial_layers_decodes_through_changes_of_layer() {
    check(Coding::svc(Codec::Av1, Leaning::Always));
}

#[test]
fn av1_in_spatial_layers_of_key_pictures_decodes_through_changes_of_layer() {
    check(Coding::svc(Codec::Av1, Leaning::KeyPictures));
}

#[test]
fn h264_decodes_through_changes_of_layer() {
    check(Coding::simulcast(Codec::H264));
}
