//! The format of a scenario's file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kall_network::LinkConfig;
use kall_shared::media::{Codec, Layer, SlotWish};
use serde::Deserialize;

use crate::codec::Dependence;
use crate::oracle::Oracle;

/// A call, and what must be true of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its extension.
    #[serde(skip)]
    pub name: String,
    /// One line for the table.
    pub title: String,
    /// What it is about, and where it comes from.
    pub about: String,
    /// How long it lasts.
    pub seconds: u64,
    /// Over how many cores its people are spread, one after the other.
    #[serde(default = "one_u8")]
    pub cores: u8,
    /// Seeds of every run of the test suite.
    pub seeds: Vec<u64>,
    /// Seeds that failed once.
    #[serde(default)]
    pub regressions: Vec<Regression>,
    /// Bottlenecks that several people share on the way down to them.
    #[serde(default)]
    pub bottlenecks: BTreeMap<String, LinkConfig>,
    /// Who is there.
    pub people: Vec<Group>,
    /// What is said; without it microphones pick up one constant sound.
    pub talk: Option<Talk>,
    /// Traffic of others on the paths.
    #[serde(default)]
    pub cross_traffic: Vec<CrossTraffic>,
    /// What happens, and when.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// What must be true in the end.
    pub oracles: Vec<Oracle>,
}

/// A seed that failed once and stays.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub was: String,
}

/// People who are alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What they are called; a single one is "name" or "name 0".
    pub name: String,
    /// How many.
    #[serde(default = "one")]
    pub count: usize,
    /// When the first joins.
    #[serde(default)]
    pub join_s: f64,
    /// The others join within this time after the first, evenly spread.
    #[serde(default)]
    pub join_within_s: f64,
    /// The camera they publish, if any.
    pub video: Option<Video>,
    /// Whether they publish a microphone.
    #[serde(default)]
    pub audio: bool,
    /// Audio slots.
    #[serde(default)]
    pub hears: usize,
    /// Video slots, in order.
    #[serde(default)]
    pub watches: Vec<Watch>,
    /// Their path to the server.
    #[serde(default)]
    pub up: LinkConfig,
    /// Their path from the server.
    #[serde(default)]
    pub down: LinkConfig,
    /// The shared bottleneck before [`Group::down`].
    pub behind: Option<String>,
}

/// A conversation of the people of one group.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Talk {
    /// Whose.
    pub group: String,
    /// Share of them who type all the time.
    pub typing: f64,
    /// How often each of them coughs.
    pub coughs_per_hour: f64,
    /// Share of turns that begin before the one before has ended.
    pub overlaps: f64,
}

/// A published camera.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// VP8, VP9, H264 or AV1.
    #[serde(default = "vp8")]
    pub codec: Codec,
    /// Frames per second.
    #[serde(default = "thirty")]
    pub fps: u32,
    /// Temporal layers, 1 to 3; H264 has one.
    #[serde(default = "one_u8")]
    pub temporal: u8,
    /// Simulcast layers in the order of the offer; one makes a single encoding.
    #[serde(default = "usual_layers")]
    pub layers: Vec<LayerSpec>,
    /// All layers in one stream, the smallest first, and how they depend on each other: "every" picture, or "key"
    /// pictures only. VP9 and AV1.
    pub(crate) scalable: Option<Dependence>,
}

/// One encoding of a camera.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpec {
    /// Its `a=rid`.
    pub rid: String,
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Target rate of the encoder.
    pub kbps: u32,
}

/// Video slots that show people of one group.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Whom.
    pub group: String,
    /// The first of them.
    #[serde(default)]
    pub first: usize,
    /// How many; all of them otherwise. Nobody watches himself.
    pub count: Option<usize>,
    /// The highest layer wanted.
    #[serde(default = "auto")]
    pub layer: Layer,
    /// Highest useful picture in pixels.
    pub max_height: Option<u16>,
    /// Higher before lower.
    #[serde(default = "ordinary")]
    pub priority: u8,
}

impl Watch {
    /// What is said to the data plane.
    #[must_use]
    pub fn wish(&self) -> SlotWish {
        SlotWish {
            layer: self.layer,
            max_height: self.max_height,
            priority: self.priority,
            ..SlotWish::default()
        }
    }
}

/// Packets of 1200 bytes at a constant rate that nobody adapts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossTraffic {
    /// Which path.
    pub on: CrossedLink,
    /// How much.
    pub kbps: u32,
    /// Since when.
    pub from_s: f64,
    /// Until when.
    pub until_s: f64,
}

/// A path with cross traffic.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CrossedLink {
    /// A shared bottleneck.
    Bottleneck(String),
    /// A person's path to the server.
    Up(String),
    /// A person's path from the server.
    Down(String),
}

/// Something that happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// When.
    pub at_s: f64,
    /// What.
    #[serde(rename = "do")]
    pub act: Act,
}

/// What can happen. A person is a group's name, or name and index: "viewer 2".
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// A camera is switched off: it stops sending, and its track is muted.
    Mute(String),
    /// It is switched on again.
    Unmute(String),
    /// A page is reloaded: silence at once, and a new session after a while, with the old one closed.
    Reconnect {
        /// Whose.
        who: String,
        /// How long nothing is heard of him.
        away_s: f64,
    },
    /// Somebody wants to see something else of what a slot shows.
    Wish {
        /// Whose slot.
        who: String,
        /// Its index among the video slots.
        slot: usize,
        /// The highest layer wanted.
        layer: Layer,
        /// Higher before lower.
        #[serde(default = "ordinary")]
        priority: u8,
    },
    /// A slot is given to another person's camera.
    Watch {
        /// Whose slot.
        who: String,
        /// Its index among the video slots.
        slot: usize,
        /// Whom it shows from now on.
        person: String,
    },
}

impl Scenario {
    /// Where the scenarios of this repository are.
    #[must_use]
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
    }

    /// Reads one scenario of [`Self::folder`] by its name.
    ///
    /// # Errors
    /// The file can't be read, or says what it may not.
    pub fn load(name: &str) -> Result<Self, String> {
        let path = Self::folder().join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut scenario: Self =
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        name.clone_into(&mut scenario.name);
        scenario.check().map_err(|error| format!("{name}: {error}"))?;
        Ok(scenario)
    }

    /// Names of all scenarios, in their order.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn names() -> Result<Vec<String>, String> {
        let folder = Self::folder();
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Every seed of a test run: the fixed ones, then those that failed once.
    pub fn all_seeds(&self) -> impl Iterator<Item = u64> {
        let failed = self.regressions.iter().map(|regression| regression.seed);
        self.seeds.iter().copied().chain(failed)
    }

    /// How long it lasts.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The index among all people of a person's name.
    ///
    /// # Errors
    /// Nobody is called so.
    pub fn person(&self, name: &str) -> Result<usize, String> {
        let (group, index) = match name.rsplit_once(' ') {
            Some((group, index)) => (group, index.parse().map_err(|_| format!("no person '{name}'"))?),
            None => (name, 0),
        };
        self.members(group)?
            .nth(index)
            .ok_or_else(|| format!("no person '{name}'"))
    }

    /// The indexes of a group's people.
    ///
    /// # Errors
    /// There is no such group.
    pub fn members(&self, group: &str) -> Result<std::ops::Range<usize>, String> {
        let mut first = 0;
        for candidate in &self.people {
            if candidate.name == group {
                return Ok(first..first + candidate.count);
            }
            first += candidate.count;
        }
        Err(format!("no group '{group}'"))
    }

    /// The people each person watches, with the wish for each.
    pub(crate) fn watched_by(&self, person: usize, group: &Group) -> Vec<(usize, SlotWish)> {
        let mut slots = Vec::new();
        for watch in &group.watches {
            let members = self.members(&watch.group).unwrap_or_default();
            let others = members.skip(watch.first).filter(|member| *member != person);
            let shown = others.take(watch.count.unwrap_or(usize::MAX));
            slots.extend(shown.map(|member| (member, watch.wish())));
        }
        slots
    }

    /// Names refer to something.
    fn check(&self) -> Result<(), String> {
        for group in &self.people {
            for watch in &group.watches {
                self.members(&watch.group)?;
            }
            if let Some(name) = &group.behind
                && !self.bottlenecks.contains_key(name)
            {
                return Err(format!("no bottleneck '{name}'"));
            }
        }
        if let Some(talk) = &self.talk
            && self.members(&talk.group)?.len() < 2
        {
            return Err(format!("'{}' are too few for a conversation", talk.group));
        }
        for action in &self.actions {
            match &action.act {
                Act::Mute(who) | Act::Unmute(who) | Act::Reconnect { who, .. } | Act::Wish { who, .. } => {
                    self.person(who)?;
                }
                Act::Watch { who, person, .. } => {
                    self.person(who)?;
                    self.person(person)?;
                }
            }
        }
        for cross in &self.cross_traffic {
            match &cross.on {
                CrossedLink::Bottleneck(name) if !self.bottlenecks.contains_key(name) => {
                    return Err(format!("no bottleneck '{name}'"));
                }
                CrossedLink::Bottleneck(_) => {}
                CrossedLink::Up(who) | CrossedLink::Down(who) => {
                    self.person(who)?;
                }
            }
        }
        self.oracles.iter().try_for_each(|oracle| oracle.check(self))
    }
}

const fn one() -> usize {
    1
}

const fn one_u8() -> u8 {
    1
}

const fn vp8() -> Codec {
    Codec::Vp8
}

const fn thirty() -> u32 {
    30
}

const fn auto() -> Layer {
    Layer::Auto
}

const fn ordinary() -> u8 {
    SlotWish::PRIORITY
}

/// What browsers send of a 720p camera, at the rates of a small meeting.
fn usual_layers() -> Vec<LayerSpec> {
    [("q", 320, 180, 150), ("h", 640, 360, 400), ("f", 1280, 720, 1200)]
        .map(|(rid, width, height, kbps)| LayerSpec {
            rid: rid.to_owned(),
            width,
            height,
            kbps,
        })
        .into()
}
