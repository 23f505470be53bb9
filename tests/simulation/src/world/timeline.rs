//! What happened, in lines for people: what is read when a seed fails.

use kall_dataplane::time::Time;

use super::{Connected, World};

impl World<'_> {
    /// Switches, pauses, requests and estimates, in the order of their time.
    pub(crate) fn timeline(&self) -> Vec<String> {
        let mut lines: Vec<(Time, String)> = Vec::new();
        for Connected { peer, logs, measures } in &self.peers {
            let name = format!("peer {} (person {})", peer.index, peer.person);
            if let Some(at) = peer.first_check() {
                lines.push((at, format!("{name} joins")));
            }
            for (slot, log) in logs.iter().enumerate() {
                for (at, source) in &log.shown {
                    let (from, layer) = (source.peer, source.layer);
                    lines.push((*at, format!("{name} slot {slot} gets peer {from} layer {layer}")));
                }
            }
            for (slot, slot_measures) in measures.slots.iter().enumerate() {
                for (at, paused) in &slot_measures.paused {
                    let what = if *paused { "is paused" } else { "goes on" };
                    lines.push((*at, format!("{name} slot {slot} {what}")));
                }
            }
            for (slot, (video, _)) in peer.video.iter().enumerate() {
                for at in &video.key_requests {
                    lines.push((*at, format!("{name} slot {slot} asks for a key frame")));
                }
            }
            for (layer, requests) in peer
                .camera
                .iter()
                .flat_map(|camera| camera.requests().enumerate())
            {
                for at in requests {
                    lines.push((*at, format!("{name} layer {layer} is asked for a key frame")));
                }
            }
            // One estimate a second is enough to see the shape.
            for estimated in measures.estimates.iter().step_by(5) {
                let capacity = estimated
                    .capacity
                    .map_or(String::new(), |capacity| format!(" of {}", capacity / 1000));
                let kbps = estimated.bps / 1000;
                lines.push((estimated.at, format!("{name} estimate {kbps}{capacity} kbit/s")));
            }
        }
        for turn in &self.turns {
            lines.push((turn.from, format!("person {} begins to speak", turn.person)));
            lines.push((turn.until, format!("person {} ends", turn.person)));
        }
        for (at, peer) in &self.measures.speakers {
            let person = self.peers[*peer].peer.person;
            lines.push((*at, format!("person {person} is announced")));
        }
        for (at, peer, muted) in &self.muted {
            let what = if *muted { "off" } else { "on" };
            lines.push((*at, format!("camera of peer {peer} {what}")));
        }
        lines.sort_by_key(|(at, _)| *at);
        lines
            .into_iter()
            .map(|(at, what)| format!("{:9.3} s  {what}", at.as_nanos() as f64 / 1e9))
            .collect()
    }
}
