//! The figures as criterion leaves them: a folder for each bench, with what it is and what was measured.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

/// What was measured of one bench.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The file it is in.
    pub(crate) group: String,
    /// What it does.
    pub(crate) name: String,
    /// With how many keys, slots or whatever its file has.
    pub(crate) count: Option<String>,
    /// Nanoseconds of CPU, the median of the samples, and what it is between with 95 % confidence.
    pub(crate) median: f64,
    /// See [`Self::median`].
    pub(crate) interval: (f64, f64),
}

impl Row {
    fn order(&self) -> (&str, u64, &str) {
        let count = self.count.as_ref().and_then(|count| count.parse().ok());
        (&self.group, count.unwrap_or(0), &self.name)
    }
}

/// All of them, group by group.
pub(crate) fn rows(folder: &Path) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    find(folder, &mut rows)?;
    rows.sort_by(|one, other| one.order().cmp(&other.order()));
    Ok(rows)
}

fn find(folder: &Path, rows: &mut Vec<Row>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new") {
            rows.extend(row(
                &json(&path.join("benchmark.json"))?,
                &json(&path.join("estimates.json"))?,
            ));
        } else {
            find(&path, rows)?;
        }
    }
    Ok(())
}

fn json(file: &Path) -> io::Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

fn row(bench: &Value, estimates: &Value) -> Option<Row> {
    let text = |key: &str| bench[key].as_str().map(str::to_owned);
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    Some(Row {
        group: text("group_id")?,
        name: text("function_id")?,
        count: text("value_str"),
        median: median["point_estimate"].as_f64()?,
        interval: (
            interval["lower_bound"].as_f64()?,
            interval["upper_bound"].as_f64()?,
        ),
    })
}

/// Three digits that matter.
pub(crate) fn nanoseconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn some(name: &str, median: f64) -> Row {
        Row {
            group: "group".to_owned(),
            name: name.to_owned(),
            count: Some("1000".to_owned()),
            median,
            interval: (median * 0.9, median * 1.1),
        }
    }

    #[test]
    fn benches_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for (at, group, name, count) in [
            ("one/kall/1000/new", "one", "kall", Some("1000")),
            ("one/kall/2/new", "one", "kall", Some("2")),
            ("alone/row/new", "alone", "row", None),
        ] {
            let at = folder.path().join(at);
            fs::create_dir_all(&at).unwrap();
            let bench = json!({ "group_id": group, "function_id": name, "value_str": count });
            let estimates = json!({ "median": {
                "point_estimate": 5.0, "confidence_interval": { "lower_bound": 4.0, "upper_bound": 6.0 } } });
            fs::write(at.join("benchmark.json"), bench.to_string()).unwrap();
            fs::write(at.join("estimates.json"), estimates.to_string()).unwrap();
        }
        fs::create_dir_all(folder.path().join("one/report")).unwrap();
        let rows = rows(folder.path()).unwrap();
        let counts: Vec<Option<&str>> = rows.iter().map(|row| row.count.as_deref()).collect();
        assert_eq!(counts, [None, Some("2"), Some("1000")]);
        assert_eq!((rows[0].median, rows[0].interval), (5.0, (4.0, 6.0)));
    }
}
