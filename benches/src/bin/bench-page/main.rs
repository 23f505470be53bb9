//! Puts what the benches measured on a page: the table and the chart of benches/README.md.

mod chart;
mod machine;
mod read;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// What stands between these lines of the page is written anew.
const BEGIN: &str = "<!-- What `make bench` wrote begins here. -->";
/// See [`BEGIN`].
const END: &str = "<!-- What `make bench` wrote ends here. -->";

#[derive(Parser)]
#[command(
    name = "bench-page",
    about = "Puts what the benches measured on a page",
    version
)]
struct Arguments {
    /// Where the benches left their figures.
    #[arg(long, default_value = "target/criterion")]
    criterion: PathBuf,
    /// The page, which has the two lines between which the figures are.
    #[arg(long, default_value = "benches/README.md")]
    page: PathBuf,
    /// The chart, beside the page or below.
    #[arg(long, default_value = "benches/results/benches.svg")]
    chart: PathBuf,
}

/// Replaces what is between the two lines.
fn replace(page: &str, section: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{section}\n{END}{after}"))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let said = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    let rows = read::rows(&arguments.criterion).map_err(said(&arguments.criterion))?;
    if rows.is_empty() {
        return Err(format!(
            "nothing was measured in {}",
            arguments.criterion.display()
        ));
    }
    let machine = machine::describe();
    let page = fs::read_to_string(&arguments.page).map_err(said(&arguments.page))?;
    let folder = arguments.page.parent().unwrap_or(Path::new(""));
    let link = arguments.chart.strip_prefix(folder).unwrap_or(&arguments.chart);
    let section = table::section(&machine, &link.display().to_string(), &rows);
    let page =
        replace(&page, &section).ok_or_else(|| format!("{} lacks {BEGIN}", arguments.page.display()))?;
    if let Some(folder) = arguments.chart.parent() {
        fs::create_dir_all(folder).map_err(said(folder))?;
    }
    fs::write(&arguments.chart, chart::svg(&machine, &rows)).map_err(said(&arguments.chart))?;
    fs::write(&arguments.page, page).map_err(said(&arguments.page))
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench-page: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_changes() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replace(&page, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replace(&new, "new\n").as_ref(), Some(&new));
        assert_eq!(replace("no section", "new"), None);
    }
}
