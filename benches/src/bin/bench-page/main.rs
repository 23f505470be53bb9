//! Puts what was measured on a page: the tables and the chart of benches/README.md.

mod bars;
mod chart;
mod machine;
mod read;
mod table;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bars::Bars;
use clap::Parser;

/// The lines of the page between which a section is written anew by a target of the Makefile.
fn lines(target: &str) -> [String; 2] {
    ["begins", "ends"].map(|what| format!("<!-- What `make {target}` wrote {what} here. -->"))
}

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
    /// What `benches/bars.sh` wrote: its tables are put on the page instead of those of the benches.
    #[arg(long)]
    bars: Option<PathBuf>,
    /// The page, which has the two lines between which the figures are.
    #[arg(long, default_value = "benches/README.md")]
    page: PathBuf,
    /// The chart, beside the page or below.
    #[arg(long, default_value = "benches/results/benches.svg")]
    chart: PathBuf,
}

/// Replaces what is between the two lines.
fn replace(page: &str, target: &str, section: &str) -> Result<String, String> {
    let [begin, end] = lines(target);
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| format!("the page lacks {begin} or its end"))?;
    Ok(format!("{before}{begin}\n\n{section}\n{end}{after}"))
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
    let page = match &arguments.bars {
        Some(bars) => {
            let lines = fs::read_to_string(bars).map_err(said(bars))?;
            let bars = Bars::new(&lines, &rows).map_err(|error| format!("{}: {error}", bars.display()))?;
            replace(&page, "bars", &bars.section(&machine))?
        }
        None => {
            let folder = arguments.page.parent().unwrap_or(Path::new(""));
            let link = arguments.chart.strip_prefix(folder).unwrap_or(&arguments.chart);
            let section = table::section(&machine, &link.display().to_string(), &rows);
            let page = replace(&page, "bench", &section)?;
            if let Some(folder) = arguments.chart.parent() {
                fs::create_dir_all(folder).map_err(said(folder))?;
            }
            fs::write(&arguments.chart, chart::svg(&machine, &rows)).map_err(said(&arguments.chart))?;
            page
        }
    };
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
        let [begin, end] = lines("bench");
        let page = format!("before\n{begin}\nold\n{end}\nafter\n");
        let new = replace(&page, "bench", "new\n").unwrap();
        assert_eq!(new, format!("before\n{begin}\n\nnew\n\n{end}\nafter\n"));
        assert_eq!(replace(&new, "bench", "new\n").as_ref(), Ok(&new));
        assert!(replace(&new, "bars", "new").is_err());
    }
}
