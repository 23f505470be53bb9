//! `kall rooms` and `kall rooms:close`.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::remote::{Api, Remote, Watch};
use super::table::{plain, table};
use super::{Failure, block_on, print};
use crate::config::Config;

/// Rooms asked for at once.
const PAGE: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Rooms {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    watch: Watch,
    /// Which rooms
    #[arg(long, value_enum, default_value_t = Which::Active)]
    status: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Active,
    Closed,
    All,
}

#[derive(Debug, Args)]
pub(super) struct Close {
    #[command(flatten)]
    remote: Remote,
    /// The room, by id or slug
    #[arg(value_name = "ROOM_ID")]
    room: String,
}

impl Rooms {
    pub(super) fn run(&self, config: &Config, json: bool) -> Result<(), Failure> {
        let api = self.remote.connect(config)?;
        block_on(async move {
            let show = async || {
                let list = self.all(&api).await?;
                Ok(if json { list.to_string() } else { shown(&list) })
            };
            self.watch.run(!json, show).await
        })
    }

    /// Every page of the list, as one answer.
    async fn all(&self, api: &Api) -> Result<Value, Failure> {
        let status = match self.status {
            Which::Active => "&status=active",
            Which::Closed => "&status=closed",
            Which::All => "",
        };
        let mut rooms: Vec<Value> = Vec::new();
        loop {
            let page = api
                .get(&format!("/rooms?limit={PAGE}&offset={}{status}", rooms.len()))
                .await?;
            let more = page["rooms"]
                .as_array()
                .ok_or("the answer has no list of rooms")?;
            rooms.extend(more.iter().cloned());
            if more.len() < PAGE {
                return Ok(json!({"rooms": rooms, "total": rooms.len()}));
            }
        }
    }
}

fn shown(list: &Value) -> String {
    let rooms = list["rooms"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rooms.is_empty() {
        return "no rooms".to_owned();
    }
    let head = ["ID", "SLUG", "NAME", "STATUS", "PEOPLE", "SETTINGS", "CREATED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for room in rooms {
        let text = |field: &str| plain(room[field].as_str().unwrap_or_default());
        let settings = [
            "locked",
            "password_protected",
            "lobby_enabled",
            "recording_enabled",
        ];
        let on = settings.into_iter().filter(|name| room[name] == true);
        let words: Vec<&str> = on
            .map(|name| name.split('_').next().unwrap_or(name))
            .chain(room["mode"].as_str())
            .collect();
        rows.push(vec![
            text("id"),
            text("slug"),
            text("name"),
            text("status"),
            format!("{}/{}", room["participant_count"], room["max_participants"]),
            if words.is_empty() {
                "-".to_owned()
            } else {
                words.join(",")
            },
            text("created_at"),
        ]);
    }
    table(&rows)
}

impl Close {
    pub(super) fn run(&self, config: &Config, json: bool) -> Result<(), Failure> {
        let api = self.remote.connect(config)?;
        // What is no id and no slug must not become another path.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        if self.room.is_empty() || !self.room.chars().all(plain) {
            return Err(format!("'{}' is neither a room's id nor a slug", self::plain(&self.room)).into());
        }
        block_on(async move {
            api.delete(&format!("/rooms/{}", self.room)).await?;
            if json {
                print(&json!({"closed": self.room}).to_string())
            } else {
                print(&format!("{} is closed", self.room))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_one_line_with_what_is_special() {
        let room = json!({"id": "rm_a", "slug": "team-1", "name": "Team\u{7}", "status": "active",
            "participant_count": 5, "max_participants": 20, "locked": true, "password_protected": true,
            "lobby_enabled": false, "recording_enabled": false, "mode": "open", "created_at": "2026-03-16T10:00:00Z"});
        let text = shown(&json!({"rooms": [room], "total": 1}));
        let line = text.lines().nth(1).expect("a row");
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "rm_a",
                "team-1",
                "Team?",
                "active",
                "5/20",
                "locked,password,open",
                "2026-03-16T10:00:00Z"
            ]
        );
        assert_eq!(shown(&json!({"rooms": []})), "no rooms");
    }
}
