//! Pictures of AV1 from the payloads of their packets.

/// The OBUs of a temporal unit (RTP Payload Format for AV1, section 4) as a file has them: after a temporal delimiter,
/// each with its size. `None` if a payload makes no sense where it stands.
#[must_use]
pub fn temporal_unit(payloads: &[impl AsRef<[u8]>]) -> Option<Vec<u8>> {
    let mut obus = Obus::default();
    let mut unit = DELIMITER.to_vec();
    for payload in payloads {
        unit.extend(obus.add(payload.as_ref())?);
    }
    obus.open.is_none().then_some(unit)
}

/// The OBU that a temporal unit begins with in a file, and that is not sent.
pub const DELIMITER: [u8; 2] = [0x12, 0x00];

/// Puts OBUs together, one payload after the other.
#[derive(Debug, Default)]
pub struct Obus {
    /// What came of one that goes on in the next payload.
    open: Option<Vec<u8>>,
}

impl Obus {
    /// The OBUs that end in this payload, each with its size. `None` if it makes no sense where it stands; an OBU that
    /// should have gone on there is forgotten.
    pub fn add(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let mut open = self.open.take();
        let (aggregation, mut rest) = payload.split_first()?;
        if continues(*aggregation) != open.is_some() {
            return None;
        }
        let mut left = match aggregation >> 4 & 3 {
            0 => usize::MAX,
            count => usize::from(count),
        };
        let mut ended = Vec::new();
        while !rest.is_empty() {
            left = left.checked_sub(1)?;
            let len = if left == 0 { rest.len() } else { leb128(&mut rest)? };
            let (element, after) = rest.split_at_checked(len)?;
            rest = after;
            let mut obu = open.take().unwrap_or_default();
            obu.extend_from_slice(element);
            if rest.is_empty() && aggregation & 0x40 != 0 {
                self.open = Some(obu);
            } else {
                with_size(&obu, &mut ended)?;
            }
        }
        Some(ended)
    }
}

/// Whether a payload's first OBU began in the one before (Z of its aggregation header).
#[must_use]
pub fn continues(aggregation: u8) -> bool {
    aggregation & 0x80 != 0
}

fn with_size(obu: &[u8], to: &mut Vec<u8>) -> Option<()> {
    let header = *obu.first()?;
    let header_len = if header & 0x04 == 0 { 1 } else { 2 };
    to.push(header | 0x02);
    to.extend_from_slice(obu.get(1..header_len)?);
    let mut size = obu.len() - header_len;
    while size >= 0x80 {
        to.push(size as u8 | 0x80);
        size >>= 7;
    }
    to.push(size as u8);
    to.extend_from_slice(&obu[header_len..]);
    Some(())
}

fn leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in 0..8 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= usize::from(byte & 0x7f) << (7 * shift);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obus_over_several_payloads() {
        // A sequence header of two bytes and the start of a frame; its middle; its end.
        let payloads: [&[u8]; 3] = [&[0x68, 2, 0x08, 1, 0x30, 2], &[0xd0, 3, 4], &[0x90, 5]];
        let unit = [0x12, 0, 0x0a, 1, 1, 0x32, 4, 2, 3, 4, 5];
        assert_eq!(temporal_unit(&payloads).as_deref(), Some(unit.as_slice()));
        assert_eq!(temporal_unit(&payloads[..2]), None, "the end is missing");
        assert_eq!(temporal_unit(&payloads[1..]), None, "the start is missing");
        assert_eq!(
            temporal_unit(&[payloads[0], payloads[0]]),
            None,
            "another one starts"
        );
    }

    #[test]
    fn what_is_open_is_forgotten_where_it_does_not_go_on() {
        let mut obus = Obus::default();
        assert_eq!(obus.add(&[0x50, 0x30, 1]), Some(vec![]));
        assert_eq!(obus.add(&[0x10, 0x30, 2]), None);
        assert_eq!(obus.add(&[0x10, 0x30, 2]), Some(vec![0x32, 1, 2]));
    }
}
