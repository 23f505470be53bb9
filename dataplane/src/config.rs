//! The data plane's own settings: command line first, then `KALL_DATAPLANE__*`, then defaults.
//!
//! `kall` passes them when it spawns the data plane; a unit file or a compose file does when
//! `dataplane.spawn = false`. Impossible values end the start with exit status 2 and one line that
//! names the setting and what is allowed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use thiserror::Error;

/// Most cores: the core's index is the top byte of a session id, and 64 is what one UDP port range in a
/// firewall rule is asked to hold.
pub const CORES_MAX: usize = 64;

/// Most advertised addresses: each becomes a candidate in every answer.
pub const ADVERTISE_MAX: usize = 8;

/// Highest CPU id a list may name; `cpu_set_t` ends there.
const CPU_ID_MAX: usize = 1023;

/// Longest orphan timeout, one year: beyond it 0 (never) is what is meant.
const ORPHAN_TIMEOUT_MAX: u64 = 31_536_000;

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {reason}")]
pub struct ConfigError {
    /// The setting, as on the command line.
    pub name: &'static str,
    /// What is allowed.
    pub reason: String,
}

impl ConfigError {
    fn new(name: &'static str, reason: impl Into<String>) -> Self {
        Self {
            name,
            reason: reason.into(),
        }
    }
}

/// Which driver moves the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum IoChoice {
    /// io_uring where the kernel has what it takes, else system calls.
    Auto,
    /// io_uring or no start.
    IoUring,
    /// recvmmsg and sendmmsg.
    Syscall,
}

/// How many cores, or which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreChoice {
    /// One less than there are, at least one.
    Auto,
    /// The last so many: the first CPU is where interrupts and the control plane live.
    Count(usize),
    /// These CPU ids, in this order.
    List(Vec<usize>),
}

impl FromStr for CoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALLOWED: &str = "'auto', a number of cores, or a list of CPU ids such as 2,3,4 or [2]";
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let number = |text: &str| text.parse::<usize>().map_err(|_| ALLOWED.to_owned());
        if !text.contains([',', '[']) {
            return Ok(Self::Count(number(text)?));
        }
        let ids = list_items(text).map(number).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::List(ids))
    }
}

/// Addresses, as `a,b` or as a TOML array: the environment carries the form of `kall.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Addresses(Vec<IpAddr>);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        list_items(text)
            .map(|item| item.parse().map_err(|_| format!("'{item}' is not an IP address")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn list_items(text: &str) -> impl Iterator<Item = &str> {
    text.trim()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .split(',')
        .map(|item| item.trim().trim_matches('"'))
        .filter(|item| !item.is_empty())
}

/// The command line. Of an option given twice the later one counts, so that a wrapper can be overruled.
#[derive(Debug, Parser)]
#[command(
    name = "kall-dataplane",
    version,
    about = "kall's media plane",
    max_term_width = 110,
    args_override_self = true
)]
struct Args {
    /// Unix socket for the control plane, mode 0600
    #[arg(long, env = "KALL_DATAPLANE__CONTROL_SOCKET", value_name = "PATH")]
    control_socket: PathBuf,
    /// Address of the UDP sockets; 0.0.0.0 and :: take every local address
    #[arg(
        long,
        env = "KALL_DATAPLANE__BIND",
        default_value = "0.0.0.0",
        value_name = "IP"
    )]
    bind: IpAddr,
    /// First UDP port, core i listens on the i-th after it; 0 = any free ones
    #[arg(
        long,
        env = "KALL_DATAPLANE__UDP_PORT",
        default_value_t = 7882,
        value_name = "PORT"
    )]
    udp_port: u16,
    /// TCP port of all cores for peers without UDP (ICE-TCP); 0 = off
    #[arg(
        long,
        env = "KALL_DATAPLANE__TCP_PORT",
        default_value_t = 7881,
        value_name = "PORT"
    )]
    tcp_port: u16,
    /// auto (CPUs - 1, at least 1), a number, or a list of CPU ids such as 2,3,4
    #[arg(
        long,
        env = "KALL_DATAPLANE__CORES",
        default_value = "auto",
        value_name = "CORES"
    )]
    cores: CoreChoice,
    /// Addresses told to clients, separated by commas; none = the local ones
    #[arg(
        long,
        env = "KALL_DATAPLANE__ADVERTISE",
        default_value = "",
        value_name = "IPS"
    )]
    advertise: Addresses,
    /// What moves the packets
    #[arg(long, env = "KALL_DATAPLANE__IO", value_enum, default_value = "auto")]
    io: IoChoice,
    /// Seconds without control plane and sessions before the process ends; 0 = never
    #[arg(
        long,
        env = "KALL_DATAPLANE__ORPHAN_TIMEOUT",
        default_value_t = 60,
        value_name = "SECONDS"
    )]
    orphan_timeout: u64,
    /// Answer bare STUN Binding requests on the media ports
    #[arg(long, env = "KALL_DATAPLANE__STUN")]
    stun: bool,
    /// Log filter: a level, or directives such as info,kall_dataplane=debug
    #[arg(
        long,
        env = "KALL_DATAPLANE__LOG_LEVEL",
        default_value = "info",
        value_name = "FILTER"
    )]
    log_level: String,
    /// Log as JSON, one object a line
    #[arg(long, env = "KALL_DATAPLANE__LOG_JSON")]
    log_json: bool,
}

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the control plane connects.
    pub control_socket: PathBuf,
    /// Address of the sockets.
    pub bind: IpAddr,
    /// First UDP port; 0 = any free ones.
    pub udp_port: u16,
    /// Port of ICE over TCP; 0 = off.
    pub tcp_port: u16,
    /// CPU id of each core's thread; entry i listens on `udp_port + i`.
    pub cpus: Vec<usize>,
    /// Addresses told to clients; empty: the local ones.
    pub advertise: Vec<IpAddr>,
    /// What moves the packets.
    pub io: IoChoice,
    /// How long the process lives without control plane and sessions; none: for ever.
    pub orphan_timeout: Option<Duration>,
    /// Whether bare STUN Binding requests are answered.
    pub stun: bool,
    /// A `tracing` filter, already found valid.
    pub log_level: String,
    /// Whether the log is JSON.
    pub log_json: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run with these settings.
    Run(Box<Config>),
    /// Print this text and end with status 0: help or version.
    Print(String),
}

/// Reads arguments and environment. `cpus` are the CPU ids this process may run on.
///
/// # Errors
/// One line that names the setting and what is allowed.
pub fn from_args<I, T>(args: I, cpus: &[usize]) -> Result<Invocation, String>
where
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString> + Clone,
{
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Invocation::Print(error.to_string()));
        }
        Err(error) => return Err(one_line(&error.to_string())),
    };
    args.check(cpus)
        .map(|config| Invocation::Run(Box::new(config)))
        .map_err(|error| error.to_string())
}

/// The part of clap's message before the usage, on one line.
fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message
        .trim_start_matches("error: ")
        .lines()
        .take_while(|line| !line.starts_with("Usage") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ")
}

impl Args {
    fn check(self, cpus: &[usize]) -> Result<Config, ConfigError> {
        if self.control_socket.as_os_str().is_empty() {
            return Err(ConfigError::new("--control-socket", "a path is needed"));
        }
        if self.bind.is_multicast() {
            return Err(ConfigError::new("--bind", "a local address, 0.0.0.0 or ::"));
        }
        let cpus = choose_cpus(&self.cores, cpus)?;
        if self.udp_port != 0 && usize::from(self.udp_port) + cpus.len() - 1 > usize::from(u16::MAX) {
            return Err(ConfigError::new(
                "--udp-port",
                format!("{} cores from port {} pass 65535", cpus.len(), self.udp_port),
            ));
        }
        let Addresses(advertise) = self.advertise;
        if advertise.len() > ADVERTISE_MAX {
            return Err(ConfigError::new(
                "--advertise",
                format!("at most {ADVERTISE_MAX} addresses"),
            ));
        }
        if let Some(address) = advertise.iter().find(|a| a.is_unspecified() || a.is_multicast()) {
            return Err(ConfigError::new(
                "--advertise",
                format!("{address} is no address of a host"),
            ));
        }
        if self.orphan_timeout > ORPHAN_TIMEOUT_MAX {
            return Err(ConfigError::new(
                "--orphan-timeout",
                format!("0 (never) to {ORPHAN_TIMEOUT_MAX} seconds"),
            ));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&self.log_level) {
            return Err(ConfigError::new(
                "--log-level",
                format!("'{}' is no log filter: {error}", self.log_level),
            ));
        }
        Ok(Config {
            control_socket: self.control_socket,
            bind: self.bind,
            udp_port: self.udp_port,
            tcp_port: self.tcp_port,
            cpus,
            advertise,
            io: self.io,
            orphan_timeout: (self.orphan_timeout > 0).then(|| Duration::from_secs(self.orphan_timeout)),
            stun: self.stun,
            log_level: self.log_level,
            log_json: self.log_json,
        })
    }
}

fn choose_cpus(choice: &CoreChoice, available: &[usize]) -> Result<Vec<usize>, ConfigError> {
    // A process that may not learn its CPUs still has one.
    let available = if available.is_empty() { &[0] } else { available };
    let last = |count: usize| available[available.len() - count..].to_vec();
    match choice {
        CoreChoice::Auto => Ok(last((available.len() - 1).clamp(1, CORES_MAX))),
        CoreChoice::Count(count) => {
            let most = available.len().min(CORES_MAX);
            if (1..=most).contains(count) {
                Ok(last(*count))
            } else {
                Err(ConfigError::new(
                    "--cores",
                    format!("1 to {most} on this machine, not {count}"),
                ))
            }
        }
        CoreChoice::List(ids) => {
            let distinct: BTreeSet<_> = ids.iter().collect();
            if ids.is_empty() || ids.len() > CORES_MAX || distinct.len() != ids.len() {
                return Err(ConfigError::new(
                    "--cores",
                    format!("a list of 1 to {CORES_MAX} different CPU ids"),
                ));
            }
            if let Some(id) = ids.iter().find(|id| **id > CPU_ID_MAX) {
                return Err(ConfigError::new(
                    "--cores",
                    format!("CPU id {id} is over {CPU_ID_MAX}"),
                ));
            }
            Ok(ids.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, String> {
        let line = ["kall-dataplane", "--control-socket", "/run/x.sock"];
        match from_args(line.iter().chain(args), &[0, 1, 2, 3])? {
            Invocation::Run(config) => Ok(*config),
            Invocation::Print(text) => Err(text),
        }
    }

    #[test]
    fn defaults_are_those_of_the_configuration_page() {
        let config = parse(&[]).expect("defaults are valid");
        assert_eq!(config.bind, IpAddr::from([0, 0, 0, 0]));
        assert_eq!((config.udp_port, config.tcp_port), (7882, 7881));
        assert_eq!(config.cpus, [1, 2, 3]);
        assert_eq!(config.io, IoChoice::Auto);
        assert_eq!(config.orphan_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn cores_are_auto_a_number_or_a_list() {
        assert_eq!(parse(&["--cores", "2"]).expect("valid").cpus, [2, 3]);
        assert_eq!(
            parse(&["--cores", "1", "--cores", "3"]).expect("valid").cpus,
            [1, 2, 3]
        );
        assert_eq!(parse(&["--cores", "4,2"]).expect("valid").cpus, [4, 2]);
        assert_eq!(parse(&["--cores", "[2, 3]"]).expect("valid").cpus, [2, 3]);
        assert_eq!(choose_cpus(&CoreChoice::Auto, &[5]).expect("valid"), [5]);
        assert_eq!(choose_cpus(&CoreChoice::Auto, &[]).expect("valid"), [0]);
    }

    #[test]
    fn advertised_addresses_come_in_both_forms() {
        let expected = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().expect("literal"));
        for text in ["192.0.2.1,2001:db8::1", "[\"192.0.2.1\", \"2001:db8::1\"]"] {
            assert_eq!(parse(&["--advertise", text]).expect("valid").advertise, expected);
        }
    }

    #[test]
    fn zero_means_never_an_orphan() {
        assert_eq!(
            parse(&["--orphan-timeout", "0"]).expect("valid").orphan_timeout,
            None
        );
    }

    #[test]
    fn impossible_values_are_one_line_that_names_the_setting() {
        for (args, name) in [
            (&["--cores", "0"][..], "--cores"),
            (&["--cores", "5"], "--cores"),
            (&["--cores", "1,1"], "--cores"),
            (&["--cores", "many"], "--cores"),
            (&["--cores", "1,4096"], "--cores"),
            (&["--udp-port", "65535", "--cores", "2"], "--udp-port"),
            (&["--udp-port", "70000"], "--udp-port"),
            (&["--bind", "localhost"], "--bind"),
            (&["--bind", "224.0.0.1"], "--bind"),
            (&["--advertise", "0.0.0.0"], "--advertise"),
            (&["--advertise", "example.org"], "--advertise"),
            (&["--io", "epoll"], "--io"),
            (&["--orphan-timeout", "99999999999"], "--orphan-timeout"),
            (&["--log-level", "a=b=c"], "--log-level"),
            (&["--wrong"], "--wrong"),
        ] {
            let message = parse(args).expect_err("impossible");
            assert!(message.contains(name), "{args:?}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn the_socket_is_needed() {
        let message = from_args(["kall-dataplane"], &[0]).expect_err("no socket");
        assert!(message.contains("--control-socket"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}
