//! RTP header extensions: the one- and two-byte element forms of RFC 8285, and what stands in
//! the few elements a router reads or writes itself.
//!
//! Which id means what is negotiated per session; this file knows formats only.

use super::writer::Writer;

/// "Defined by profile" of the one-byte form (RFC 8285 section 4.2).
const PROFILE_ONE_BYTE: u16 = 0xbede;
/// The same of the two-byte form; its low four bits are the application's (section 4.3).
const PROFILE_TWO_BYTE: u16 = 0x1000;

/// In the one-byte form, ends the list (section 4.2).
const ID_RESERVED: u8 = 15;
/// Most data bytes of a one-byte element.
const ONE_BYTE_DATA_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
    Unknown,
}

impl Form {
    fn of(profile: u16) -> Self {
        if profile == PROFILE_ONE_BYTE {
            Self::OneByte
        } else if profile & 0xfff0 == PROFILE_TWO_BYTE {
            Self::TwoByte
        } else {
            Self::Unknown
        }
    }
}

/// Iterates the elements of a header extension as `(id, data)`, in wire order.
///
/// A cut or reserved element ends the iteration: RFC 8285 section 4.2 lets the elements before it
/// stand. An extension of another profile has no elements.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Over the data of an extension with this "defined by profile" value.
    #[must_use]
    pub fn new(profile: u16, data: &'a [u8]) -> Self {
        Self {
            form: Form::of(profile),
            rest: data,
        }
    }

    /// No elements at all.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            form: Form::Unknown,
            rest: &[],
        }
    }

    /// Takes one element's header off the front: its id and data length.
    fn element_header(&mut self) -> Option<(u8, usize)> {
        match self.form {
            Form::OneByte => {
                let (&first, rest) = self.rest.split_first()?;
                let (id, len) = (first >> 4, usize::from(first & 0x0f) + 1);
                // Id 0 with a length, like id 15, ends the list.
                if id == 0 || id == ID_RESERVED {
                    return None;
                }
                self.rest = rest;
                Some((id, len))
            }
            Form::TwoByte => {
                let (&[id, len], rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Some((id, usize::from(len)))
            }
            Form::Unknown => None,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let element = self.element_header().and_then(|(id, len)| {
            let (data, rest) = self.rest.split_at_checked(len)?;
            self.rest = rest;
            Some((id, data))
        });
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

/// Writes a whole header extension: profile, length in words, elements, padding. The one-byte form
/// is taken when every element fits it, else the two-byte form; ids are 1 to 255. Gives the bytes
/// written, 0 when there are no elements.
pub fn write(buf: &mut [u8], elements: &[(u8, &[u8])]) -> Option<usize> {
    if elements.is_empty() {
        return Some(0);
    }
    let one_byte = elements
        .iter()
        .all(|(id, data)| *id < ID_RESERVED && (1..=ONE_BYTE_DATA_MAX).contains(&data.len()));
    let mut out = Writer::new(buf);
    out.u16(if one_byte {
        PROFILE_ONE_BYTE
    } else {
        PROFILE_TWO_BYTE
    })?;
    out.u16(0)?;
    for (id, data) in elements {
        if *id == 0 {
            return None;
        }
        let len = u8::try_from(data.len()).ok()?;
        if one_byte {
            out.u8(id << 4 | (len - 1))?;
        } else {
            out.u8(*id)?;
            out.u8(len)?;
        }
        out.bytes(data)?;
    }
    out.align4()?;
    let words = u16::try_from(out.len() / 4 - 1).ok()?;
    out.patch_u16(2, words)?;
    Some(out.len())
}

/// Client-to-mixer audio level (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The level in -dBov: 0 is the loudest, 127 is silence.
    pub level: u8,
    /// Whether the encoder thinks it is speech.
    pub voice: bool,
}

impl AudioLevel {
    /// Reads an element's data.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let &first = data.first()?;
        Some(Self {
            level: first & 0x7f,
            voice: first & 0x80 != 0,
        })
    }

    /// An element's data.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | (self.level & 0x7f)]
    }
}

/// Reads a transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01
/// section 2). Version 2 of the extension appends two bytes, which are ignored.
#[must_use]
pub fn read_transport_sequence(data: &[u8]) -> Option<u16> {
    data.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Reads an absolute send time: seconds in 6.18 fixed point, 24 bits.
#[must_use]
pub fn read_abs_send_time(data: &[u8]) -> Option<u32> {
    data.first_chunk()
        .map(|&[high, middle, low]| u32::from_be_bytes([0, high, middle, low]))
}

/// Reads an SDES item such as MID, RID or the repaired RID (RFC 7941, RFC 8852): UTF-8 without
/// trailing zeros, which some senders add.
#[must_use]
pub fn read_text(data: &[u8]) -> Option<&str> {
    let end = data.iter().rposition(|&byte| byte != 0)? + 1;
    std::str::from_utf8(&data[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(profile: u16, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        Elements::new(profile, data)
            .map(|(id, data)| (id, data.to_vec()))
            .collect()
    }

    #[test]
    fn one_byte_elements_with_padding_between() {
        // RFC 8285 section 4.2, the shape of its second figure: lengths 1, 2 and 4.
        let data = [0x10, 0xaa, 0x21, 0xbb, 0xbb, 0, 0, 0x33, 0xcc, 0xcc, 0xcc, 0xcc];
        assert_eq!(
            all(0xbede, &data),
            [(1, vec![0xaa]), (2, vec![0xbb; 2]), (3, vec![0xcc; 4])]
        );
    }

    #[test]
    fn two_byte_elements_with_an_empty_one_and_any_appbits() {
        let data = [1, 0, 2, 1, 0xbb, 0, 3, 4, 0xcc, 0xcc, 0xcc, 0xcc];
        let expected = [(1, vec![]), (2, vec![0xbb]), (3, vec![0xcc; 4])];
        assert_eq!(all(0x1000, &data), expected);
        assert_eq!(all(0x100f, &data), expected);
    }

    #[test]
    fn id_15_and_a_padding_byte_with_a_length_end_the_one_byte_list() {
        assert_eq!(
            all(0xbede, &[0x10, 0xaa, 0xf0, 0xff, 0x20, 0xbb]),
            [(1, vec![0xaa])]
        );
        assert_eq!(
            all(0xbede, &[0x10, 0xaa, 0x01, 0xff, 0x20, 0xbb]),
            [(1, vec![0xaa])]
        );
        // In the two-byte form 15 is an id like others.
        assert_eq!(all(0x1000, &[15, 1, 0xaa]), [(15, vec![0xaa])]);
    }

    #[test]
    fn a_cut_element_ends_the_list_and_leaves_those_before() {
        assert_eq!(all(0xbede, &[0x10, 0xaa, 0x23, 0xbb]), [(1, vec![0xaa])]);
        assert_eq!(all(0x1000, &[1, 1, 0xaa, 2]), [(1, vec![0xaa])]);
    }

    #[test]
    fn an_unknown_profile_has_no_elements() {
        assert!(all(0x2000, &[0x10, 0xaa, 0, 0]).is_empty());
    }

    #[test]
    fn the_form_follows_the_elements() {
        let mut buf = [0xff; 64];
        assert_eq!(write(&mut buf, &[]), Some(0));
        assert_eq!(write(&mut buf, &[(3, &[1, 2])]), Some(8));
        assert_eq!(buf[..8], [0xbe, 0xde, 0, 1, 0x31, 1, 2, 0]);
        assert_eq!(write(&mut buf, &[(15, &[7])]), Some(8));
        assert_eq!(buf[..8], [0x10, 0, 0, 1, 15, 1, 7, 0]);
        assert_eq!(write(&mut buf, &[(1, &[])]), Some(8));
        assert_eq!(buf[..2], [0x10, 0]);
        assert_eq!(write(&mut buf, &[(1, &[0; 17])]), Some(24));
        assert_eq!(buf[..2], [0x10, 0]);
        assert_eq!(write(&mut buf, &[(0, &[1])]), None);
        assert_eq!(write(&mut buf[..7], &[(3, &[1, 2])]), None);
    }

    #[test]
    fn element_values() {
        let level = AudioLevel {
            level: 35,
            voice: true,
        };
        assert_eq!(level.to_bytes(), [0xa3]);
        assert_eq!(AudioLevel::read(&[0xa3]), Some(level));
        assert_eq!(AudioLevel::read(&[]), None);
        assert_eq!(read_transport_sequence(&[0x12, 0x34, 0x80, 0]), Some(0x1234));
        assert_eq!(read_transport_sequence(&[0x12]), None);
        assert_eq!(read_abs_send_time(&[1, 2, 3]), Some(0x01_0203));
        assert_eq!(read_text(b"q\0\0"), Some("q"));
        assert_eq!(read_text(&[0xff]), None);
        assert_eq!(read_text(&[]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            profile in prop_oneof![Just(0xbede), 0x1000u16..0x1010, any::<u16>()],
            data in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let total: usize = Elements::new(profile, &data).map(|(_, data)| data.len()).sum();
            prop_assert!(total <= data.len());
        }

        #[test]
        fn what_is_written_is_read(
            elements in proptest::collection::vec(
                (1u8..=255, proptest::collection::vec(any::<u8>(), 0..40)), 1..8),
        ) {
            let borrowed: Vec<_> = elements.iter().map(|(id, data)| (*id, data.as_slice())).collect();
            let mut buf = [0xff; 1024];
            let len = write(&mut buf, &borrowed).expect("fits");
            let profile = u16::from_be_bytes([buf[0], buf[1]]);
            prop_assert_eq!(usize::from(u16::from_be_bytes([buf[2], buf[3]])) * 4 + 4, len);
            prop_assert_eq!(all(profile, &buf[4..len]), elements);
        }
    }
}
