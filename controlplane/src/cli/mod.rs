//! The command line. Exit status 0 on success, 1 on failure, 2 on bad usage; one clear line on
//! standard error.

mod dev;
mod remote;
mod rooms;
mod serve;
mod setup;
mod stats;
mod table;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{self, Loaded};

/// Open-source, self-hosted video conferencing.
#[derive(Debug, Parser)]
#[command(name = "kall", version, about, arg_required_else_help = true)]
struct Cli {
    /// Configuration file [default: ./kall.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What the server runs for
    #[arg(long, global = true, value_enum, default_value_t = Environment::Development)]
    env: Environment,
    /// Print data as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What the server runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Environment {
    /// Checks are strict, logs are JSON.
    Production,
    /// Logs are for people.
    Development,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Server,
    /// Start the server for development: pages from disk, restart when the program or its
    /// configuration changes
    Dev,
    /// Write kall.toml and what it needs
    Setup(setup::Setup),
    /// Generate a token
    Token(token::Token),
    /// Run database migrations
    Migrate,
    /// List the rooms of a running server
    Rooms(rooms::Rooms),
    /// Close a room of a running server
    #[command(name = "rooms:close")]
    RoomsClose(rooms::Close),
    /// Show figures of a running server
    Stats(stats::Stats),
}

/// What went wrong, for standard error.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no failures; clap knows which stream each belongs to.
            let help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if help || !error.use_stderr() {
                let _ = error.print();
                return if help {
                    ExitCode::from(2)
                } else {
                    ExitCode::SUCCESS
                };
            }
            let _ = writeln!(std::io::stderr(), "kall: {}", one_line(&error.to_string()));
            return ExitCode::from(2);
        }
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "kall: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn run(self) -> Result<(), Failure> {
        match &self.command {
            Command::Server => serve::run(self.load()?, self.env, serve::embedded()),
            Command::Dev => dev::run(&self),
            Command::Setup(setup) => setup.run(&self.config_path(), self.env, self.json),
            Command::Token(token) => token.run(self.load()?.config, self.json),
            Command::Migrate => migrate(self.load()?.config, self.json),
            Command::Rooms(rooms) => rooms.run(&self.load()?.config, self.json),
            Command::RoomsClose(close) => close.run(&self.load()?.config, self.json),
            Command::Stats(stats) => stats.run(&self.load()?.config, self.json),
        }
    }

    fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from("kall.toml"))
    }

    fn load(&self) -> Result<Loaded, Failure> {
        let loaded = config::load(&self.config_path(), self.config.is_some())?;
        if self.env == Environment::Production && !loaded.from_file {
            return Err(
                "production needs a configuration file: copy kall.example.toml, or run kall setup".into(),
            );
        }
        Ok(loaded)
    }
}

/// What clap complains about, without the usage that follows.
fn one_line(message: &str) -> String {
    let lines = message.trim_start_matches("error: ").lines().map(str::trim);
    let complaint = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    complaint
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn migrate(config: config::Config, json: bool) -> Result<(), Failure> {
    block_on(async move {
        std::fs::create_dir_all(config.data_dir())?;
        let store = crate::store::Store::connect(&config.database).await?;
        store.close().await;
        // A PostgreSQL URL may hold a password.
        let name = match config.database.driver {
            config::DatabaseDriver::Sqlite => config.database.url,
            config::DatabaseDriver::Postgres => "the PostgreSQL database".to_owned(),
        };
        if json {
            print(&serde_json::json!({"database": name, "migrated": true}).to_string())
        } else {
            print(&format!("{name} is up to date"))
        }
    })
}

/// One line of data on standard output.
fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_complaint_is_one_line_that_names_what_is_missing() {
        let error = Cli::try_parse_from(["kall", "token", "--identity", "x"]).expect_err("no room");
        let line = one_line(&error.to_string());
        assert!(
            line.contains("--room") && !line.contains('\n') && !line.contains("Usage"),
            "{line}"
        );
    }

    #[test]
    fn options_may_come_after_the_command() {
        let cli = Cli::try_parse_from(["kall", "server", "--env", "production", "--config", "x.toml"])
            .expect("valid");
        assert_eq!(
            (cli.env, cli.config_path()),
            (Environment::Production, PathBuf::from("x.toml"))
        );
        assert!(Cli::try_parse_from(["kall", "serve"]).is_err());
    }
}
