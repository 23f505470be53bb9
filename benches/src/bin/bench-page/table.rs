//! The section of the page: the chart, and all figures as a table.

use std::fmt::Write as _;

use super::read::{Row, nanoseconds};

/// As Markdown.
pub(crate) fn section(machine: &str, chart: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "Measured on {machine}. All in nanoseconds of the thread's CPU time.\n\n\
         ![A bar for each bench; the figures are in the table below]({chart})\n\n\
         <details><summary>The figures</summary>\n\n\
         | bench | what | of how many | ns | 95 % interval |\n|---|---|---|---|---|\n"
    );
    for row in rows {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} to {} |",
            row.group,
            row.name,
            row.count.as_deref().unwrap_or(""),
            nanoseconds(row.median),
            nanoseconds(row.interval.0),
            nanoseconds(row.interval.1)
        );
    }
    text += "\n</details>\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::some;

    #[test]
    fn each_figure_has_a_line() {
        let text = section("today, here", "results/chart.svg", &[some("kall", 1_234.5)]);
        assert!(text.contains("today, here"));
        assert!(text.contains("(results/chart.svg)"));
        assert!(
            text.contains("| group | kall | 1000 | 1234 | 1111 to 1358 |"),
            "{text}"
        );
    }
}
