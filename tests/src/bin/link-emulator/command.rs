//! What the emulator can be told. A direction's properties are written as in a simulation's file, on
//! one line; those that are left out are as on a perfect link.

use kall_tests::network::LinkConfig;

/// One line of input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// From now on, from near to far.
    Down(LinkConfig),
    /// From now on, from far to near.
    Up(LinkConfig),
    /// Report on both directions.
    Stats,
}

impl Command {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let (verb, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match (verb, rest.trim()) {
            ("down", rest) => Ok(Self::Down(config(rest)?)),
            ("up", rest) => Ok(Self::Up(config(rest)?)),
            ("stats", "") => Ok(Self::Stats),
            _ => Err(format!("not 'down', 'up' or 'stats': {line}")),
        }
    }
}

fn config(properties: &str) -> Result<LinkConfig, String> {
    let words = |error: toml::de::Error| error.message().to_owned();
    // An inline table, so that the line reads as the file would.
    let mut table: toml::Table = format!("link = {{ {properties} }}").parse().map_err(words)?;
    let link = table.remove("link").unwrap_or(toml::Table::new().into());
    link.try_into().map_err(words)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kall_tests::network::{Loss, Queue, Rate};

    use super::*;

    #[test]
    fn a_line_is_a_direction_s_properties() {
        let line = "down rate_kbps = 300, queue = { ms = 200 }, delay_ms = 40, loss = { random = 0.05 }\n";
        let config = LinkConfig {
            rate: Some(Rate::constant(300_000)),
            queue: Queue::Delay(Duration::from_millis(200)),
            delay: Duration::from_millis(40),
            loss: Loss::Random(0.05),
            ..LinkConfig::default()
        };
        assert_eq!(Command::parse(line), Ok(Command::Down(config)));
        assert_eq!(Command::parse("up"), Ok(Command::Up(LinkConfig::default())));
        assert_eq!(Command::parse(" stats "), Ok(Command::Stats));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "",
            "sideways delay_ms = 1",
            "stats now",
            "down delay_ms",
            "down speed = 3",
            "down delay_ms = -1",
        ] {
            assert!(Command::parse(line).is_err(), "{line}");
        }
    }
}
