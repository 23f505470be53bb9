use super::*;
use crate::scenario::LayerSpec;

fn form(codec: Codec, scalable: Option<Dependence>, bits: u64) -> Form {
    let sizes = [(320, 180), (640, 360), (1280, 720)];
    let sizes = if scalable.is_some() {
        &sizes[..]
    } else {
        &sizes[..1]
    };
    let layers = sizes.iter().map(|(width, height)| LayerSpec {
        rid: "f".to_owned(),
        width: *width,
        height: *height,
        kbps: 100,
    });
    let video = Video {
        codec,
        fps: 30,
        temporal: 3,
        layers: layers.collect(),
        scalable,
    };
    Form::new(&video, IdWidth::Long, sizes.to_vec(), bits)
}

fn frame(key: bool, spatial: u8, layers: u8) -> Frame {
    Frame {
        key,
        number: 70_000,
        before: (!key).then_some(69_994),
        below: (spatial > 0).then_some(69_999),
        picture: 30_000,
        distance: 2,
        spatial,
        layers,
        chains: [3, 2, 1],
        bytes: 2500,
        ids: Ids {
            picture_id: 0x1234,
            tl0: 200,
            temporal: if key { 0 } else { 2 },
            sync: true,
            key_index: 17,
        },
        width: 640,
        height: 360,
    }
}

fn label(frame: &Frame, packet: u8, packets: u8) -> Label {
    Label {
        source: Source { peer: 300, layer: 2 },
        key: frame.key,
        frame: frame.number,
        packet,
        packets,
        before: frame.before,
        below: frame.below,
        captured: 1 << 40,
        picture: frame.picture,
        lowest: 7000,
        spatial: frame.spatial,
        layers: frame.layers,
        temporal: frame.ids.temporal,
    }
}

#[test]
fn what_is_written_is_read() {
    let cases = [
        (Codec::Vp8, None),
        (Codec::H264, None),
        (Codec::Vp9, None),
        (Codec::Vp9, Some(Dependence::Every)),
        (Codec::Av1, None),
        (Codec::Av1, Some(Dependence::Every)),
    ];
    for (codec, scalable) in cases {
        for bits in [0x2a00, 0x2a01] {
            let form = form(codec, scalable, bits);
            let mut structures = av1::Structures::default();
            let layers = form.sizes.len() as u8;
            for (key, spatial) in (0..layers).flat_map(|spatial| [(true, spatial), (false, spatial)]) {
                let frame = frame(key, spatial, layers);
                for packet in 0..3 {
                    let label = label(&frame, packet, 3);
                    let mut payload = Vec::new();
                    form.write(&frame, &label, &mut payload);
                    let descriptor = form.describe(&frame, &label);
                    let facts = read(codec, &payload, &descriptor, &mut structures).expect("our own");
                    assert_eq!(facts.label, label);
                    assert!(payload.len() + descriptor.len() <= PAYLOAD_MAX);
                    match facts.said {
                        Said::Vp8(ids) => assert_eq!(ids, frame.ids),
                        Said::Vp9(said) => {
                            assert_eq!((said.picture_id, said.spatial), (0x1234, spatial));
                            assert_eq!(said.tl0, (bits & 1 == 0).then_some(200));
                            assert_eq!(said.distance, (bits & 1 == 1 && !key).then_some(2));
                        }
                        Said::Av1(said) => {
                            assert_eq!((said.frame, said.spatial), (70_000u32 as u16, spatial));
                            assert_eq!(said.highest(u32::MAX >> 23), Some(layers - 1));
                            assert_eq!(said.chains[0], 3);
                        }
                        Said::Nothing => assert_eq!(codec, Codec::H264),
                    }
                }
            }
        }
    }
}

#[test]
fn the_largest_packet_fits() {
    for bytes in [1, 1000, 5000, 60_000] {
        let count = packets(bytes, OVERHEAD_MAX);
        assert!(bytes.div_ceil(count) + OVERHEAD_MAX <= PAYLOAD_MAX);
    }
}
