//! Names the server makes up: ids, slugs, guests; and the check of names people give.

use kall_shared::signalling::limits;
use rand::Rng;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Letters of a resource's name in its URL. It is a name and no secret: a token has to come with it.
pub const RESOURCE_LEN: usize = 16;

/// Letters of the part of a slug that is made from the room's name.
const SLUG_NAME_MAX: usize = 40;

/// `len` letters of `[0-9a-z]`.
#[must_use]
pub fn random_text(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}

/// A new room's id.
#[must_use]
pub fn room_id() -> String {
    format!("rm_{}", random_text(12))
}

/// A new track's id.
#[must_use]
pub fn track_id() -> String {
    format!("tr_{}", random_text(12))
}

/// `<name>-<4 of [0-9a-z]>`: the name in small letters and digits, everything else a hyphen.
#[must_use]
pub fn slug(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars().flat_map(char::to_lowercase) {
        if text.len() >= SLUG_NAME_MAX {
            break;
        }
        if letter.is_ascii_alphanumeric() {
            text.push(letter);
        } else if !text.is_empty() && !text.ends_with('-') {
            text.push('-');
        }
    }
    let text = text.trim_end_matches('-');
    let text = if text.is_empty() { "room" } else { text };
    format!("{text}-{}", random_text(4))
}

/// Whether an unknown slug may become a room of an open server.
#[must_use]
pub fn is_slug(text: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    (1..=48).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A display name without control characters and outer spaces, or what is wrong with it.
///
/// # Errors
/// What is allowed.
pub fn display_name(name: &str) -> Result<String, &'static str> {
    let given = name.chars().count();
    let name = name.trim();
    if name.is_empty() || given > limits::NAME || name.chars().any(char::is_control) {
        return Err("name: 1 to 64 printable characters");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_keeps_letters_and_digits_of_the_name() {
        let slug = slug("  Team Standup -- Ä1!  ");
        let (name, random) = slug.rsplit_once('-').expect("has a tail");
        assert_eq!(name, "team-standup-1");
        assert_eq!(random.len(), 4);
        assert!(is_slug(&slug));
        assert!(super::slug("日本").starts_with("room-"));
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(display_name(" Bob ").as_deref(), Ok("Bob"));
        assert!(display_name("").is_err());
        assert!(display_name(&"x".repeat(65)).is_err());
        assert!(display_name("a\nb").is_err());
    }

    #[test]
    fn odd_slugs_are_refused() {
        for text in ["", "A", "-a", "a-", "a/b", "a b"] {
            assert!(!is_slug(text), "{text:?}");
        }
    }
}
