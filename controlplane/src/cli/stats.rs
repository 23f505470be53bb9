//! `kall stats`.

use clap::Args;
use serde_json::Value;

use super::remote::{Remote, Watch};
use super::table::{duration, plain, table};
use super::{Failure, block_on};
use crate::config::Config;
use crate::media::drops;

#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    watch: Watch,
    /// Sessions of one room instead of the server as a whole, by id or slug
    #[arg(long, value_name = "ROOM_ID")]
    room: Option<String>,
}

impl Stats {
    pub(super) fn run(&self, config: &Config, json: bool) -> Result<(), Failure> {
        let api = self.remote.connect(config)?;
        let path = match &self.room {
            None => "/stats".to_owned(),
            Some(room)
                if room
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter)) =>
            {
                format!("/stats?room={room}")
            }
            Some(room) => return Err(format!("'{}' is neither a room's id nor a slug", plain(room)).into()),
        };
        block_on(async move {
            let show = async || {
                let figures = api.get(&path).await?;
                Ok(match (json, &self.room) {
                    (true, _) => figures.to_string(),
                    (false, None) => server(&figures),
                    (false, Some(_)) => room(&figures),
                })
            };
            self.watch.run(!json, show).await
        })
    }
}

fn server(figures: &Value) -> String {
    let number = |pointer: &str| figures.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("rooms", number("/rooms").to_string()),
        row("participants", number("/participants").to_string()),
        row("waiting in lobbies", number("/waiting").to_string()),
        row(
            "tracks",
            format!(
                "{} audio, {} video, {} screen",
                number("/tracks/audio"),
                number("/tracks/video"),
                number("/tracks/screen")
            ),
        ),
        row("websockets", number("/websockets").to_string()),
        row("uptime", duration(number("/uptime_seconds"))),
        row("memory", format!("{} MiB", number("/memory_mb"))),
    ];
    let data_plane = &figures["dataplane"];
    if data_plane.is_null() {
        rows.push(row("media server", "away".to_owned()));
        return table(&rows);
    }
    let io = plain(data_plane["io"].as_str().unwrap_or_default());
    rows.push(row("media server", format!("pid {}, {io}", data_plane["pid"])));
    let head = ["CORE", "SESSIONS", "PACKETS IN", "PACKETS OUT", "DROPS", "LANE"];
    let mut cores = vec![head.map(str::to_owned).to_vec()];
    for (index, core) in data_plane["cores"].as_array().into_iter().flatten().enumerate() {
        let counter = |name: &str| core["counters"][name].as_u64().unwrap_or(0);
        let drops = core["counters"].as_object().into_iter().flatten();
        let drops = drops.filter(|(name, _)| drops::reason(name).is_some());
        let drops: u64 = drops.filter_map(|(_, value)| value.as_u64()).sum();
        cores.push(vec![
            index.to_string(),
            core["sessions"].to_string(),
            counter("rx_packets").to_string(),
            counter("tx_packets").to_string(),
            drops.to_string(),
            counter("lane_depth").to_string(),
        ]);
    }
    format!("{}\n{}", table(&rows), table(&cores))
}

fn room(figures: &Value) -> String {
    let sessions = figures["sessions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if sessions.is_empty() {
        return "no media sessions".to_owned();
    }
    let head = [
        "IDENTITY",
        "NAME",
        "SENDS kbit/s",
        "RECEIVES kbit/s",
        "RTT ms",
        "LOSS %",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for session in sessions {
        let text = |field: &str| plain(session[field].as_str().unwrap_or_default());
        let kilobits = |field: &str| (session[field].as_u64().unwrap_or(0) / 1000).to_string();
        let loss = session["loss_permille"].as_u64().unwrap_or(0);
        rows.push(vec![
            text("identity"),
            text("name"),
            kilobits("receive_bps"),
            kilobits("send_bps"),
            session["rtt_ms"].as_u64().unwrap_or(0).to_string(),
            format!("{}.{}", loss / 10, loss % 10),
        ]);
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_of_the_reference_are_lines_for_people() {
        let figures = json!({"rooms": 12, "participants": 87, "waiting": 0,
            "tracks": {"audio": 87, "video": 64, "screen": 3}, "websockets": 87, "uptime_seconds": 86400,
            "memory_mb": 512, "dataplane": null});
        let text = server(&figures);
        for words in [
            "participants",
            "87 audio, 64 video, 3 screen",
            "1 d 0 h",
            "512 MiB",
            "away",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let mut figures = figures;
        figures["dataplane"] = json!({"pid": 7, "io": "io_uring", "cores": [
            {"sessions": 2, "counters": {"rx_packets": 5, "tx_packets": 9, "drop_muted": 3, "drop_codec": 1}}]});
        let text = server(&figures);
        let core: Vec<&str> = text.lines().last().expect("a row").split_whitespace().collect();
        assert_eq!(core, ["0", "2", "5", "9", "4", "0"]);
    }
}
