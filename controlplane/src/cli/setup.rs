//! `kall setup`: a configuration that works, with secrets of its own. On a terminal it asks for what no
//! flag says; elsewhere everything has its default.

use std::io::{BufRead, IsTerminal as _, Write};
use std::net::IpAddr;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Environment, Failure, print};
use crate::secret;

#[derive(Debug, Args)]
pub(super) struct Setup {
    /// Also make a certificate for HTTPS: browsers give no camera to other machines without it
    #[arg(long)]
    self_signed: bool,
    /// Host names and addresses of the certificate, besides localhost
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    /// Who may join [default: open in development, token in production]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Address to listen on [default: 127.0.0.1 in development without a certificate, else 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// HTTP and WebSocket port [default: 7880]
    #[arg(long)]
    port: Option<u16>,
    /// Public URL, such as https://kall.example.com
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Holders of a token
    Token,
    /// Everybody
    Open,
    /// Everybody whom a host admits
    Lobby,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Open => "open",
            Self::Lobby => "lobby",
        }
    }
}

/// What the file will say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answers {
    mode: String,
    bind: IpAddr,
    port: u16,
    base_url: String,
    self_signed: bool,
}

impl Setup {
    pub(super) fn run(&self, path: &Path, env: Environment, json: bool) -> Result<(), Failure> {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let answers = self.defaults(env);
        let answers = if terminal && !self.yes && !json && !path.exists() {
            let stdin = std::io::stdin();
            self.ask(answers, &mut stdin.lock(), &mut std::io::stdout())?
        } else {
            answers
        };
        self.write(path, &answers, json)
    }

    fn defaults(&self, env: Environment) -> Answers {
        let development = env == Environment::Development;
        // Other machines get no camera without HTTPS, so there is nothing to listen for.
        let own_machine = development && !self.self_signed;
        Answers {
            mode: self
                .mode
                .map_or(if development { "open" } else { "token" }, Mode::as_str)
                .to_owned(),
            bind: self.bind.unwrap_or(if own_machine {
                IpAddr::from([127, 0, 0, 1])
            } else {
                IpAddr::from([0, 0, 0, 0])
            }),
            port: self.port.unwrap_or(7880),
            base_url: self.base_url.clone().unwrap_or_default(),
            self_signed: self.self_signed,
        }
    }

    /// Asks for what no flag has said.
    fn ask(
        &self,
        mut answers: Answers,
        input: &mut impl BufRead,
        output: &mut impl Write,
    ) -> Result<Answers, Failure> {
        if self.mode.is_none() {
            answers.mode = question(
                input,
                output,
                "Who may join: token, open or lobby?",
                &answers.mode,
                |text| Mode::from_str(text, true).map(|mode| mode.as_str().to_owned()),
            )?;
        }
        if !self.self_signed {
            answers.self_signed = question(
                input,
                output,
                "Make a certificate, so that other machines' browsers give a camera (yes or no)?",
                "no",
                |text| match text {
                    "yes" | "y" => Ok(true),
                    "no" | "n" => Ok(false),
                    _ => Err("yes or no".to_owned()),
                },
            )?;
            if answers.self_signed && self.bind.is_none() {
                answers.bind = IpAddr::from([0, 0, 0, 0]);
            }
        }
        if self.bind.is_none() {
            let present = answers.bind.to_string();
            answers.bind = question(input, output, "Address to listen on?", &present, |text| {
                text.parse().map_err(|_| "an IPv4 or IPv6 address".to_owned())
            })?;
        }
        if self.port.is_none() {
            let present = answers.port.to_string();
            answers.port = question(input, output, "Port?", &present, |text| {
                text.parse().map_err(|_| "0 to 65535".to_owned())
            })?;
        }
        if self.base_url.is_none() {
            answers.base_url = question(
                input,
                output,
                "Public URL, such as https://kall.example.com (empty: none)?",
                "",
                |text| match text {
                    "" => Ok(String::new()),
                    url if url.starts_with("http://") || url.starts_with("https://") => Ok(url.to_owned()),
                    _ => Err("an http:// or https:// URL".to_owned()),
                },
            )?;
        }
        Ok(answers)
    }

    fn write(&self, path: &Path, answers: &Answers, json: bool) -> Result<(), Failure> {
        if path.exists() && !self.force {
            return Err(format!("{} is there already; --force replaces it", path.display()).into());
        }
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder)?;
        let certificate = match answers.self_signed {
            true => Some(self.certificate(folder)?),
            false => None,
        };
        let key_secret = secret::generate();
        let text = render(answers, &key_secret);
        crate::config::parse(&text)?;
        // The file holds the API key's secret.
        secret::write_private(path, text.as_bytes(), self.force)?;
        if json {
            let answer =
                json!({"config": path, "certificate": certificate.as_ref().map(|_| "kall-cert.pem")});
            return print(&answer.to_string());
        }
        print(&format!("{} written", path.display()))?;
        if certificate.is_some() {
            print("kall-cert.pem and kall-key.pem written: browsers will ask before they trust it")?;
        }
        Ok(())
    }

    fn certificate(&self, folder: &Path) -> Result<(), Failure> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(self.host.iter().cloned());
        names.extend(own_address().map(|address| address.to_string()));
        names.sort();
        names.dedup();
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = made.signing_key.serialize_pem();
        secret::write_private(&folder.join("kall-key.pem"), key.as_bytes(), self.force)?;
        secret::write_private(
            &folder.join("kall-cert.pem"),
            made.cert.pem().as_bytes(),
            self.force,
        )?;
        Ok(())
    }
}

/// The address of this machine's default route, as other machines in its network see it. Nothing
/// is sent: connecting a datagram socket only asks the routing table.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Asks until the answer will do; an empty one is `default`.
fn question<T>(
    input: &mut impl BufRead,
    output: &mut impl Write,
    words: &str,
    default: &str,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        let hint = if default.is_empty() {
            String::new()
        } else {
            format!(" [{default}]")
        };
        write!(output, "{words}{hint} ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err("setup was not finished".into());
        }
        let given = match line.trim() {
            "" => default,
            given => given,
        };
        match check(given) {
            Ok(value) => return Ok(value),
            Err(allowed) => writeln!(output, "  {allowed}, please")?,
        }
    }
}

fn render(answers: &Answers, key_secret: &str) -> String {
    let Answers {
        mode,
        bind,
        port,
        base_url,
        self_signed,
    } = answers;
    // As a TOML string, whatever was typed.
    let base_url = toml_string(base_url);
    let (cert, key) = if *self_signed {
        ("kall-cert.pem", "kall-key.pem")
    } else {
        ("", "")
    };
    format!(
        "# Written by kall setup. Every key, its default and unit: kall.example.toml\n\
         \n\
         [server]\n\
         host = \"{bind}\"\n\
         port = {port}\n\
         base_url = {base_url}              # public URL, such as \"https://kall.example.com\"\n\
         tls_cert = \"{cert}\"\n\
         tls_key = \"{key}\"\n\
         \n\
         # Callers of the REST API: Authorization: Bearer key:secret\n\
         [[api.keys]]\n\
         key = \"devkey\"\n\
         secret = \"{key_secret}\"\n\
         \n\
         [auth]\n\
         mode = \"{mode}\"            # token, open, lobby\n\
         \n\
         [database]\n\
         url = \"kall.db\"            # the signing secret is generated beside it\n"
    )
}

/// A basic string of TOML 1.0: quotes, backslashes and control characters escaped as in JSON.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuthMode, parse};
    use std::os::unix::fs::PermissionsExt;

    fn setup(self_signed: bool, force: bool) -> Setup {
        Setup {
            self_signed,
            host: vec!["kall.example.com".into()],
            force,
            mode: None,
            bind: None,
            port: None,
            base_url: None,
            yes: true,
        }
    }

    fn asked(setup: &Setup, typed: &str) -> (Result<Answers, Failure>, String) {
        let mut said = Vec::new();
        let answers = setup.ask(
            setup.defaults(Environment::Development),
            &mut typed.as_bytes(),
            &mut said,
        );
        (answers, String::from_utf8(said).expect("text"))
    }

    #[test]
    fn enter_takes_the_default_and_nonsense_is_asked_again() {
        let (answers, _) = asked(&setup(false, false), "\n\n\n\n\n");
        let defaults = setup(false, false).defaults(Environment::Development);
        assert_eq!(answers.expect("complete"), defaults);
        let typed = "closed\nlobby\ny\n\nx\n8443\nkall.example.com\nhttps://kall.example.com\n";
        let (answers, said) = asked(&setup(false, false), typed);
        let answers = answers.expect("complete");
        assert_eq!(
            (answers.mode.as_str(), answers.port, answers.self_signed),
            ("lobby", 8443, true)
        );
        assert_eq!(answers.bind, IpAddr::from([0, 0, 0, 0]), "others may come now");
        assert_eq!(answers.base_url, "https://kall.example.com");
        assert_eq!(said.matches("please").count(), 3, "{said}");
        let config = parse(&render(&answers, "0123456789abcdef")).expect("valid");
        assert_eq!((config.auth.mode, config.server.port), (AuthMode::Lobby, 8443));
        assert!(
            asked(&setup(false, false), "open\n").0.is_err(),
            "the end of input is no answer"
        );
    }

    #[test]
    fn what_a_flag_says_is_not_asked() {
        let mut setup = setup(true, false);
        setup.mode = Some(Mode::Token);
        setup.bind = Some(IpAddr::from([192, 0, 2, 1]));
        setup.port = Some(1);
        setup.base_url = Some("https://a.example/\"x".into());
        let (answers, said) = asked(&setup, "");
        let answers = answers.expect("complete");
        assert_eq!(said, "");
        let config = parse(&render(&answers, "0123456789abcdef"));
        let config = config.expect("a quote in a URL is no way out of its line");
        assert_eq!((config.auth.mode, config.server.port), (AuthMode::Token, 1));
        assert_eq!(config.server.base_url, "https://a.example/\"x");
    }

    #[test]
    fn development_is_open_on_loopback_and_production_is_not() {
        let text = |env| render(&setup(false, false).defaults(env), "0123456789abcdef");
        let config = parse(&text(Environment::Development)).expect("valid");
        assert_eq!(config.auth.mode, AuthMode::Open);
        assert!(config.server.host.is_loopback());
        let config = parse(&text(Environment::Production)).expect("valid");
        assert_eq!(config.auth.mode, AuthMode::Token);
    }

    #[test]
    fn setup_writes_for_the_owner_only_and_replaces_only_by_force() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("kall.toml");
        setup(true, false)
            .run(&path, Environment::Development, false)
            .expect("written");
        for file in ["kall.toml", "kall-key.pem"] {
            let mode = std::fs::metadata(dir.path().join(file))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let before = std::fs::read_to_string(&path).expect("read");
        assert!(
            setup(false, false)
                .run(&path, Environment::Development, false)
                .is_err()
        );
        assert_eq!(std::fs::read_to_string(&path).expect("read"), before);
        setup(true, true)
            .run(&path, Environment::Development, false)
            .expect("replaced");
        assert_ne!(std::fs::read_to_string(&path).expect("read"), before);
    }
}
