use proptest::prelude::*;

use super::testing::{frame, l1t3, l3t3_key};
use super::*;

fn written(descriptor: &Descriptor, known: Option<&Structure>) -> Vec<u8> {
    let mut buf = [0xff; LEN_MAX];
    let len = descriptor.write(known, &mut buf).expect("fits");
    buf[..len].to_vec()
}

#[test]
fn l1t3_is_the_table_of_the_specification() {
    let structure = l1t3(0);
    let bytes = written(&frame(&structure, 0, 1, true), None);
    // By hand: the mandatory fields; five flags; offset, three targets; layers 0 0 1 2 2.
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let expected = concat!(
        "10000000",
        "0000000000000001",
        "10000",
        "000000",
        "00010", // head, flags, offset, targets
        "00",
        "01",
        "01",
        "00",
        "11", // next layers
        "101010",
        "101010",
        "000110",
        "000001",
        "000001", // indications
        "0",
        "1",
        "0011",
        "0",
        "1",
        "0001",
        "0",
        "1",
        "0000",
        "0",
        "1",
        "0000",
        "0", // references
        "01",
        "0000",
        "0100",
        "0010",
        "0001",
        "0011", // one chain: a target needs no bit to name it
        "1",
        "0000001001111111",
        "0000000101100111", // sizes
    );
    assert_eq!(bits[..expected.len()], *expected);
    assert!(bits[expected.len()..].chars().all(|bit| bit == '0') && bits.len() - expected.len() < 8);

    let read = Descriptor::parse(&bytes, None).expect("well-formed");
    assert_eq!(read.attached.as_ref(), Some(&structure));
    assert!(read.is_key_frame());
    let targets: Vec<_> = structure
        .targets()
        .iter()
        .map(|target| (target.spatial, target.temporal, target.protected_by))
        .collect();
    assert_eq!(targets, [(0, 0, Some(0)), (0, 1, Some(0)), (0, 2, Some(0))]);
}

#[test]
fn l3t3_key_has_nine_targets_in_three_layers() {
    let structure = l3t3_key(7);
    let bytes = written(&frame(&structure, 0, 5, true), None);
    assert!(bytes.len() > 16, "longer than the one-byte form can carry");
    let read = Descriptor::parse(&bytes, None).expect("well-formed");
    let own = read.attached.as_ref().expect("attached");
    assert_eq!(own, &structure);
    assert_eq!(own.spatial_layers(), 3);
    assert_eq!(own.target(1, u8::MAX), Some(5));
    assert_eq!(own.target(1, 0), Some(3));
    assert_eq!(own.target(3, 0), None);
    assert_eq!(own.targets_up_to(1), 0b11_1111);
    assert_eq!(own.sizes().map(|sizes| sizes[2].width), Some(1280));

    // A frame of the top layer in three bytes.
    let bytes = written(&frame(own, 13, 6, false), Some(own));
    assert_eq!(bytes.len(), MANDATORY_LEN);
    let read = Descriptor::parse(&bytes, Some(own)).expect("well-formed");
    assert_eq!((read.spatial, read.temporal), (2, 2));
    assert_eq!(read.references.distances(), [3]);
    assert!(!read.is_key_frame());
}

#[test]
fn a_frame_may_differ_from_its_template() {
    let structure = l1t3(60);
    let mut own = frame(&structure, 3, 9, false);
    own.references = References::default();
    for distance in [1, 17, 4096] {
        assert!(own.references.push(distance));
    }
    own.indications[2] = Indication::Required;
    own.chains[0] = 200;
    own.active_targets = Some(0b011);
    let bytes = written(&own, Some(&structure));
    assert_eq!(Descriptor::parse(&bytes, Some(&structure)), Ok(own));
}

#[test]
fn what_has_no_template_is_refused() {
    let structure = l1t3(60);
    // 60 to 63 and 0 are its templates.
    assert!(Descriptor::parse(&[0x80, 0, 0], Some(&structure)).is_ok());
    assert_eq!(
        Descriptor::parse(&[0x81, 0, 0], Some(&structure)),
        Err(Malformed::Value)
    );
    assert_eq!(Descriptor::parse(&[0x80, 0, 0], None), Err(Malformed::Value));
    assert_eq!(
        Descriptor::parse(&[0x80, 0], Some(&structure)),
        Err(Malformed::Truncated)
    );
}

#[test]
fn every_cut_is_refused() {
    let bytes = written(&frame(&l3t3_key(0), 0, 5, true), None);
    for len in 0..bytes.len() {
        assert!(Descriptor::parse(&bytes[..len], None).is_err(), "{len} bytes");
    }
}

#[test]
fn a_patched_descriptor_says_the_same_in_other_numbers() {
    let structure = l3t3_key(3);
    let bytes = written(&frame(&structure, 0, 5, true), None);
    let patch = Patch {
        frame_number: 700,
        template_shift: 62,
        active_targets: Some(structure.targets_up_to(1)),
        target_count: 0,
    };
    let mut buf = [0xff; LEN_MAX];
    let len = patch.apply(&bytes, &mut buf).expect("fits");
    let read = Descriptor::parse(&buf[..len], None).expect("well-formed");
    assert_eq!(read.mandatory.frame_number, 700);
    assert_eq!(read.mandatory.template_id, 1);
    assert_eq!(read.active_targets, Some(0b11_1111));
    assert_eq!(read.attached, Some(l3t3_key(1)));

    // In the middle of a stream the number of targets is said.
    let bytes = written(&frame(&structure, 1, 6, false), Some(&structure));
    let patch = Patch {
        target_count: 9,
        active_targets: Some(0b111),
        ..patch
    };
    let len = patch.apply(&bytes, &mut buf).expect("fits");
    let read = Descriptor::parse(&buf[..len], Some(&l3t3_key(1))).expect("well-formed");
    assert_eq!(read.active_targets, Some(0b111));
    assert_eq!(read.indications, structure.templates()[1].indications);
}

/// Any structure that can be written: layers without gaps, and everything else as it comes.
fn structures() -> impl Strategy<Value = Structure> {
    let layers = prop::collection::vec(0u8..3, 0..20);
    (layers, 1u8..10, 0u8..64, any::<u64>(), any::<bool>()).prop_map(
        |(steps, targets, offset, seed, sized)| {
            let mut random = generator(seed);
            let (mut spatial, mut temporal) = (0u8, 0u8);
            let mut layers = vec![(0, 0)];
            for step in steps {
                match step {
                    1 if temporal < 7 => temporal += 1,
                    2 if usize::from(spatial) + 1 < SPATIAL_MAX => (spatial, temporal) = (spatial + 1, 0),
                    _ => {}
                }
                layers.push((spatial, temporal));
            }
            let chains = (random() % (u32::from(targets) + 1)) as u8;
            let templates: Vec<Template> = layers
                .into_iter()
                .map(|(spatial, temporal)| {
                    let mut template = Template {
                        spatial,
                        temporal,
                        indications: [Indication::NotPresent; TARGETS_MAX],
                        references: References::default(),
                        chains: [0; CHAINS_MAX],
                    };
                    for indication in &mut template.indications[..usize::from(targets)] {
                        *indication = [
                            Indication::NotPresent,
                            Indication::Discardable,
                            Indication::Switch,
                            Indication::Required,
                        ][(random() % 4) as usize];
                    }
                    for _ in 0..random() % 4 {
                        assert!(template.references.push((random() % 16 + 1) as u16));
                    }
                    for chain in &mut template.chains[..usize::from(chains)] {
                        *chain = (random() % 16) as u8;
                    }
                    template
                })
                .collect();
            let protected: Vec<u8> = (0..targets)
                .filter(|_| chains > 0)
                .map(|_| (random() % u32::from(chains.max(1))) as u8)
                .collect();
            let sizes: Vec<_> = (0..=spatial)
                .map(|_| crate::codec::FrameSize {
                    width: (random() % 0xffff + 1) as u16,
                    height: (random() % 0xffff + 1) as u16,
                })
                .collect();
            let sizes = sized.then_some(&sizes[..]);
            Structure::new(offset, &templates, targets, &protected, chains, sizes).expect("well-formed")
        },
    )
}

/// A small generator, so that a structure shrinks as one thing.
fn generator(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        structure in structures(), number: u16, pick: u8, attach: bool,
        active in prop::option::of(any::<u32>()), shift in 0u8..64,
    ) {
        let template = pick % structure.templates().len() as u8;
        let mut own = frame(&structure, template, number, attach);
        let targets = structure.targets().len() as u32;
        own.active_targets = active.map(|mask| mask & (u32::MAX >> (32 - targets)));
        let mut buf = [0xff; LEN_MAX];
        let Some(len) = own.write(Some(&structure), &mut buf) else {
            // Twenty templates of ten targets and chains may be longer than an element.
            return Ok(());
        };
        let read = Descriptor::parse(&buf[..len], Some(&structure)).expect("well-formed");
        prop_assert_eq!(&read, &own);

        // Patched there and back it is itself again.
        let patch = Patch {
            frame_number: !number,
            template_shift: shift,
            active_targets: None,
            target_count: targets as u8,
        };
        let mut there = [0; LEN_MAX];
        let there_len = patch.apply(&buf[..len], &mut there).expect("fits");
        let back = Patch { frame_number: number, template_shift: 64 - shift, ..patch };
        let mut again = [0; LEN_MAX];
        let again_len = back.apply(&there[..there_len], &mut again).expect("fits");
        prop_assert_eq!(&again[..again_len], &buf[..len]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        data in prop::collection::vec(any::<u8>(), 0..260),
        shift: u8, active in prop::option::of(any::<u32>()), target_count: u8,
    ) {
        let known = l3t3_key(0);
        let patch = Patch { frame_number: 1, template_shift: shift, active_targets: active, target_count };
        let mut buf = [0; LEN_MAX];
        let _ = patch.apply(&data, &mut buf);
        for known in [None, Some(&known)] {
            if let Ok(descriptor) = Descriptor::parse(&data, known) {
                prop_assert!(usize::from(descriptor.spatial) < SPATIAL_MAX);
                if let Some(len) = descriptor.write(known, &mut buf) {
                    prop_assert_eq!(Descriptor::parse(&buf[..len], known), Ok(descriptor));
                }
            }
        }
    }
}
