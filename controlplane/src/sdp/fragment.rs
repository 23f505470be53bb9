//! SDP fragments of trickle ICE (`application/trickle-ice-sdpfrag`, RFC 8840 section 9): what a WHIP or
//! WHEP client says of its ICE after the offer, and the answer to a restart.
//!
//! A lite agent has no use for the candidates (RFC 8445 section 2.5): it learns where a client is from its
//! checks. They are counted and checked for their grammar, and forgotten.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::SdpError;
use super::answer::candidate_lines;

/// Longest fragment in bytes: a hundred candidates with names for addresses fit.
const FRAGMENT_MAX: usize = 16 << 10;

/// Candidates in one fragment; a host with many interfaces and relays has some dozens.
const CANDIDATES_MAX: usize = 128;

/// A checked fragment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// The client's user fragment, when it says one.
    pub ufrag: Option<String>,
    /// The client's password, when it says one.
    pub pwd: Option<String>,
    /// How many candidates it names.
    pub candidates: usize,
    /// Whether no more will follow.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Reads and checks the text. Attributes that have nothing to do with ICE are passed over.
    ///
    /// # Errors
    /// [`SdpError`] with the reason.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > FRAGMENT_MAX {
            return Err(SdpError::Session("a fragment has at most 16384 bytes"));
        }
        let mut fragment = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let Some((kind, value)) = line.split_once('=') else {
                return Err(SdpError::Session(
                    "a line of a fragment is a letter, '=', and a value",
                ));
            };
            match kind {
                "a" => fragment.attribute(value)?,
                // RFC 8840 section 9.2: a pseudo m-line groups what belongs to a line of the offer.
                "m" => {}
                _ => return Err(SdpError::Session("a fragment has lines 'a=' and 'm=' only")),
            }
        }
        if fragment.ufrag.is_some() != fragment.pwd.is_some() {
            return Err(SdpError::Session("ice-ufrag and ice-pwd come together"));
        }
        Ok(fragment)
    }

    fn attribute(&mut self, attribute: &str) -> Result<(), SdpError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "ice-ufrag" => Self::set(&mut self.ufrag, value, 4),
            "ice-pwd" => Self::set(&mut self.pwd, value, 22),
            "candidate" => {
                self.candidates += 1;
                if self.candidates > CANDIDATES_MAX {
                    return Err(SdpError::Session("a fragment has at most 128 candidates"));
                }
                // RFC 8839 section 5.1: foundation, component, transport, priority, address, port, typ.
                let fields: Vec<&str> = value.split(' ').take(8).collect();
                if fields.len() < 8 || fields[6] != "typ" || fields[5].parse::<u16>().is_err() {
                    return Err(SdpError::Session("a candidate that can't be read"));
                }
                Ok(())
            }
            "end-of-candidates" => {
                self.end_of_candidates = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The same value may be repeated for each line of the bundle.
    fn set(field: &mut Option<String>, value: &str, least: usize) -> Result<(), SdpError> {
        let ice_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        // RFC 8839 section 5.4.
        if !(least..=256).contains(&value.len()) || !value.bytes().all(ice_char) {
            return Err(SdpError::Session("ice-ufrag or ice-pwd of the wrong form"));
        }
        if field.as_ref().is_some_and(|known| known != value) {
            return Err(SdpError::Session(
                "the lines of a bundle have one ice-ufrag and ice-pwd",
            ));
        }
        *field = Some(value.to_owned());
        Ok(())
    }
}

/// The server's half of a new run of ICE, for the line that stands for the bundle.
#[must_use]
pub fn restart_fragment(
    ufrag: &str,
    pwd: &str,
    addresses: &[IpAddr],
    udp_port: u16,
    tcp_port: Option<u16>,
    run: u32,
) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write!(text, "a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
    for line in candidate_lines(addresses, udp_port, tcp_port, run) {
        let _ = write!(text, "{line}\r\n");
    }
    text.push_str("a=end-of-candidates\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKLE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
        a=candidate:3471623853 1 udp 2122194687 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 61765 typ host\r\n\
        a=end-of-candidates\r\n";

    #[test]
    fn a_fragment_of_a_trickling_client() {
        let fragment = Fragment::parse(TRICKLE).expect("a fragment");
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.pwd.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!((fragment.candidates, fragment.end_of_candidates), (2, true));
        let bare = Fragment::parse("m=audio 9 RTP/AVP 0\na=mid:0\na=end-of-candidates\n");
        assert!(bare.is_ok_and(|fragment| fragment.ufrag.is_none() && fragment.end_of_candidates));
    }

    #[test]
    fn what_is_no_fragment_is_refused() {
        for text in [
            "nonsense",
            "v=0\r\n",
            "a=ice-ufrag:abcd\r\n",
            "a=ice-ufrag:ab\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
            "a=ice-ufrag:abc d\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
            "a=ice-ufrag:abcd\r\na=ice-ufrag:efgh\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
            "a=candidate:1 1 udp 1 192.0.2.1 70000 typ host\r\n",
            "a=candidate:1 1 udp\r\n",
        ] {
            assert!(Fragment::parse(text).is_err(), "{text:?}");
        }
        let many = "a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\n".repeat(CANDIDATES_MAX + 1);
        assert!(Fragment::parse(&many).is_err());
        assert!(Fragment::parse(&"\n".repeat(FRAGMENT_MAX + 1)).is_err());
    }

    #[test]
    fn the_answer_to_a_restart_is_a_fragment_itself() {
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().expect("an address"));
        let text = restart_fragment(
            "newU",
            "a-password-is-22-chars".replace('-', "+").as_str(),
            &addresses,
            7882,
            Some(7881),
            1,
        );
        let fragment = Fragment::parse(&text).expect("own output");
        assert_eq!(fragment.ufrag.as_deref(), Some("newU"));
        assert_eq!((fragment.candidates, fragment.end_of_candidates), (4, true));
    }
}
