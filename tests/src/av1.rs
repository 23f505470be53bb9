//! Pictures of AV1 from the payloads of their packets.

/// The OBUs of a temporal unit (RTP Payload Format for AV1, section 4) as a file has them: after a temporal delimiter,
/// each with its size. `None` if a payload makes no sense where it stands.
#[must_use]
pub fn temporal_unit(payloads: &[impl AsRef<[u8]>]) -> Option<Vec<u8>> {
    let mut obus: Vec<Vec<u8>> = Vec::new();
    let mut continues = false;
    for payload in payloads {
        let (aggregation, mut rest) = payload.as_ref().split_first()?;
        if (aggregation & 0x80 != 0) != continues {
            return None;
        }
        let mut left = match aggregation >> 4 & 3 {
            0 => usize::MAX,
            count => usize::from(count),
        };
        while !rest.is_empty() {
            left = left.checked_sub(1)?;
            let len = if left == 0 { rest.len() } else { leb128(&mut rest)? };
            let (element, after) = rest.split_at_checked(len)?;
            rest = after;
            if std::mem::take(&mut continues) {
                obus.last_mut()?.extend_from_slice(element);
            } else {
                obus.push(element.to_vec());
            }
        }
        continues = aggregation & 0x40 != 0;
    }
    let mut unit = DELIMITER.to_vec();
    for obu in obus {
        let header = *obu.first()?;
        let header_len = if header & 0x04 == 0 { 1 } else { 2 };
        unit.push(header | 0x02);
        unit.extend_from_slice(obu.get(1..header_len)?);
        let mut size = obu.len() - header_len;
        while size >= 0x80 {
            unit.push(size as u8 | 0x80);
            size >>= 7;
        }
        unit.push(size as u8);
        unit.extend_from_slice(&obu[header_len..]);
    }
    Some(unit)
}

/// The OBU that a temporal unit begins with in a file, and that is not sent.
pub const DELIMITER: [u8; 2] = [0x12, 0x00];

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
