//! Rows measured in turns and reported as ratios to the first.
//!
//! Each round runs every row once, so a slow moment of the machine hits all of them; the ratio is
//! taken round by round, and its median survives what the absolute numbers don't.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

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

/// Nanoseconds of CPU per packet of one row in each round.
#[derive(Debug)]
pub struct Taken {
    name: String,
    rounds: Vec<f64>,
}

/// Runs all rows in `rounds` turns.
#[must_use]
pub fn measure(rounds: usize, rows: &mut [Row<'_>]) -> Vec<Taken> {
    let mut taken: Vec<Taken> = rows
        .iter()
        .map(|row| Taken {
            name: row.name.clone(),
            rounds: Vec::with_capacity(rounds),
        })
        .collect();
    for round in 0..=rounds {
        for (row, taken) in rows.iter_mut().zip(&mut taken) {
            let (cpu, packets) = (row.round)();
            // The first round only warms up.
            if round > 0 {
                taken.rounds.push(cpu.as_nanos() as f64 / packets.max(1) as f64);
            }
        }
    }
    taken
}

/// The table: nanoseconds of CPU per packet, their range, and the ratio to the first row.
#[must_use]
pub fn table(title: &str, rows: &[Taken]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut table = format!(
        "{title}\n{:width$}  {:>9}  {:>17}  {:>6}\n",
        "", "ns/packet", "range", "ratio"
    );
    for row in rows {
        let ratios = row
            .rounds
            .iter()
            .zip(&rows[0].rounds)
            .map(|(time, first)| time / first)
            .collect();
        let lowest = row.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = row.rounds.iter().copied().fold(0.0, f64::max);
        let range = format!("{lowest:.0}..{highest:.0}");
        table += &format!(
            "{:width$}  {:>9.0}  {range:>17}  {:>6.2}\n",
            row.name,
            median(row.rounds.clone()),
            median(ratios)
        );
    }
    table
}

/// Leaves the figures where criterion leaves its own, and as it does, so that one page has all of them.
///
/// # Errors
/// What the file system said.
pub fn keep(folder: &Path, group: &str, rows: &[Taken]) -> io::Result<()> {
    for row in rows {
        let folder = folder.join(group).join(&row.name).join("new");
        fs::create_dir_all(&folder)?;
        let bench = json!({ "group_id": group, "function_id": row.name, "value_str": null });
        let (lower, upper) = interval(row.rounds.clone());
        let estimates = json!({ "median": {
            "point_estimate": median(row.rounds.clone()),
            "confidence_interval": { "confidence_level": 0.95, "lower_bound": lower, "upper_bound": upper },
        } });
        fs::write(folder.join("benchmark.json"), bench.to_string())?;
        fs::write(folder.join("estimates.json"), estimates.to_string())?;
    }
    Ok(())
}

/// Criterion's folder of the build that this program is of.
///
/// # Errors
/// This program lies nowhere.
pub fn criterion_folder() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/program
    let target = program.ancestors().nth(3);
    let target = target.ok_or_else(|| io::Error::other("this program is in no target folder"))?;
    Ok(target.join("criterion"))
}

/// What the median is between with 95 % confidence, by the order of the values alone: with nine, as good as none of
/// the outermost.
fn interval(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let trimmed = match values.len() {
        0..9 => &values[..],
        len => &values[len / 9..len - len / 9],
    };
    let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
    (end(trimmed.first()), end(trimmed.last()))
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
        let mut rows = [
            Row::new("one", || {
                slow += 1;
                (Duration::from_nanos(100 * slow), 1)
            }),
            Row::new("two", || {
                slower += 1;
                (Duration::from_nanos(400 * slower), 2)
            }),
        ];
        let table = table("test", &measure(3, &mut rows));
        let last = table.lines().last().unwrap();
        assert!(last.starts_with("two") && last.ends_with("2.00"), "{table}");
    }

    #[test]
    fn nine_rounds_lose_their_outermost() {
        let values = vec![9.0, 1.0, 2.0, 3.0, 8.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(interval(values.clone()), (2.0, 8.0));
        assert_eq!(interval(values[..3].to_vec()), (1.0, 9.0));
    }
}
