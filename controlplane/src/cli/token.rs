//! `kall token`: a token without a running server.

use clap::{Args, ValueEnum};
use kall_shared::id::{Identity, RoomId};
use kall_shared::signalling::Role;
use serde_json::json;

use super::{Failure, block_on, print};
use crate::config::Config;
use crate::domain::names;
use crate::secret;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Token {
    /// Room, by id or slug
    #[arg(long, value_name = "ROOM_ID")]
    room: String,
    /// Who the holder is
    #[arg(long, value_name = "USER_ID")]
    identity: String,
    /// Display name
    #[arg(long, default_value = "")]
    name: String,
    /// What the holder may do
    #[arg(long, value_enum, default_value_t = RoleArg::Guest)]
    role: RoleArg,
    /// Life of the token
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    ttl: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum RoleArg {
    Host,
    CoHost,
    Guest,
    Viewer,
}

impl From<RoleArg> for Role {
    fn from(arg: RoleArg) -> Self {
        match arg {
            RoleArg::Host => Self::Host,
            RoleArg::CoHost => Self::CoHost,
            RoleArg::Guest => Self::Guest,
            RoleArg::Viewer => Self::Viewer,
        }
    }
}

impl Token {
    pub(super) fn run(&self, config: Config, json: bool) -> Result<(), Failure> {
        block_on(async move {
            std::fs::create_dir_all(config.data_dir())?;
            let store = Store::connect(&config.database).await?;
            let row = store.room(&self.room).await?;
            store.close().await;
            let row = row.ok_or_else(|| format!("no room '{}'", self.room))?;
            let identity = Identity::new(self.identity.as_str())?;
            let name = match self.name.trim() {
                "" => String::new(),
                name => names::display_name(name)?,
            };
            let tokens = crate::server::tokens(&config, &secret::signing_secret(&config)?);
            let room = RoomId::new(row.id)?;
            let token = tokens.issue(&room, &identity, &name, self.role.into(), self.ttl, None)?;
            if json {
                print(&json!({"token": token}).to_string())
            } else {
                print(&token)
            }
        })
    }
}
