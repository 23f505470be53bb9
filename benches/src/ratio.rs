//! Rows measured in turns and reported as ratios to the first.
//!
//! Each round runs every row once, so a slow moment of the machine hits all of them; the ratio is
//! taken round by round, and its median survives what the absolute numbers don't.

use std::time::Duration;

/// One way to do the job: does it for some packets, and gives its CPU time and how many they were.
pub struct Row<'a> {
    /// What the table calls it.
    pub name: String,
    /// One round.
    pub round: Box<dyn FnMut() -> (Duration, u64) + 'a>,
}

impl<'a> Row<'a> {
    /// A row.
    pub fn new(name: impl Into<String>, round: impl FnMut() -> (Duration, u64) + 'a) -> Self {
        Self {
            name: name.into(),
            round: Box::new(round),
        }
    }
}

/// Runs all rows in `rounds` turns and gives the table: nanoseconds of CPU per packet, their range,
/// and the ratio to the first row.
#[must_use]
pub fn compare(title: &str, rounds: usize, rows: &mut [Row<'_>]) -> String {
    let mut taken = vec![Vec::with_capacity(rounds); rows.len()];
    for round in 0..=rounds {
        for (row, taken) in rows.iter_mut().zip(&mut taken) {
            let (cpu, packets) = (row.round)();
            // The first round only warms up.
            if round > 0 {
                taken.push(cpu.as_nanos() as f64 / packets.max(1) as f64);
            }
        }
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut table = format!(
        "{title}\n{:width$}  {:>9}  {:>17}  {:>6}\n",
        "", "ns/packet", "range", "ratio"
    );
    for (row, times) in rows.iter().zip(&taken) {
        let ratios = times
            .iter()
            .zip(&taken[0])
            .map(|(time, first)| time / first)
            .collect();
        let lowest = times.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = times.iter().copied().fold(0.0, f64::max);
        let range = format!("{lowest:.0}..{highest:.0}");
        table += &format!(
            "{:width$}  {:>9.0}  {range:>17}  {:>6.2}\n",
            row.name,
            median(times.clone()),
            median(ratios)
        );
    }
    table
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine gets slower each round; the second row always costs twice the first.
        let mut slow = 0;
        let mut slower = 0;
        let table = compare(
            "test",
            3,
            &mut [
                Row::new("one", || {
                    slow += 1;
                    (Duration::from_nanos(100 * slow), 1)
                }),
                Row::new("two", || {
                    slower += 1;
                    (Duration::from_nanos(400 * slower), 2)
                }),
            ],
        );
        let last = table.lines().last().unwrap();
        assert!(last.starts_with("two") && last.ends_with("2.00"), "{table}");
    }
}
