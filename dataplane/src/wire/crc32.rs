//! CRC-32 of ITU V.42, as FINGERPRINT uses it (RFC 8489 section 14.7). STUN messages are about
//! 100 bytes and rare beside media, so a byte-wise table is enough.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        // `index` stays below 256.
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            // 0xedb88320 is the V.42 polynomial with its bits reversed.
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let state = bytes.iter().fold(u32::MAX, |state, &byte| {
        let index = (state ^ u32::from(byte)) & 0xff;
        TABLE[index as usize] ^ (state >> 8)
    });
    !state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b""), 0);
    }
}
