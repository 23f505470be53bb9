//! What must be true of a call in the end.

mod estimate;
mod media;
mod picture;
mod speech;

use std::time::Duration;

use kall_dataplane::time::Time;
use kall_shared::media::Layer;
use serde::Deserialize;

use crate::scenario::Scenario;
use crate::world::{Connected, World};
pub(crate) use media::violations;

/// A statement of a scenario. `who` is a group, or a person of it: "viewer 2". Times are seconds since
/// the start of the call.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Oracle {
    /// Everything that left the server can be decoded and is one stream; nothing was sealed twice.
    Decodable {},
    /// The estimate reaches a share of the capacity in time, and stays there on average.
    EstimateRises {
        /// Whose path.
        who: String,
        /// When the capacity rose.
        at_s: f64,
        /// How long the estimate may need.
        within_s: f64,
        /// When the capacity changes again.
        until_s: f64,
        /// Least share of the capacity.
        low: f64,
        /// Largest share of the capacity.
        high: f64,
    },
    /// The estimate falls below the capacity in time, and stays there on average.
    EstimateFalls {
        /// Whose path.
        who: String,
        /// When the capacity fell.
        at_s: f64,
        /// How long the estimate may need.
        within_s: f64,
        /// When the capacity changes again.
        until_s: f64,
    },
    /// Packets wait no longer than this in any queue on the way down, at the 95th percentile.
    QueueingDelay {
        /// Whose path.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// The bound.
        p95_ms: f64,
    },
    /// The layer that a slot shows changes no more often.
    LayerChanges {
        /// Whose slots.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// The bound, for each slot.
        per_minute: f64,
    },
    /// A slot shows at least this layer for most of the time.
    Shows {
        /// Whose slot.
        who: String,
        /// Its index among the video slots.
        slot: usize,
        /// By rank of its size.
        layer: Layer,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// Share of the frames.
        share: f64,
    },
    /// Sound and picture are there soon after the first connectivity check.
    FirstMedia {
        /// Who joins.
        who: String,
        /// Until the first packet of sound.
        audio_ms: Option<f64>,
        /// Until the first decoded picture in every slot.
        video_ms: Option<f64>,
    },
    /// A camera is asked for key frames no more often, in any of its layers.
    KeyframeRequests {
        /// Whose camera.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// The bound.
        most: usize,
    },
    /// Pictures freeze no more often, and no longer (freezes as in webrtc-stats). While a slot is paused
    /// nothing is expected.
    Freezes {
        /// Whose slots.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// How many, in each slot.
        per_minute: f64,
        /// How long the longest may be.
        longest_ms: f64,
    },
    /// The picture is there again soon after something ended that kept it away.
    Resumes {
        /// Whose slots.
        who: String,
        /// When it ended.
        at_s: f64,
        /// How long it may take, in every slot.
        within_ms: f64,
    },
    /// Sound arrives in order, but for what the wire lost.
    Audio {
        /// Who listens.
        who: String,
        /// Least share of the packets.
        share: f64,
    },
    /// Whoever has the word is announced soon, and nobody else is.
    Speakers {
        /// How long it may take from when nobody else speaks any more.
        within_ms: f64,
        /// Announcements of somebody who does not speak.
        wrong_per_minute: f64,
    },
    /// The sound that is sealed for one listener, however many talk.
    SoundCost {
        /// Who listens.
        who: String,
        /// Fewest packets a second.
        least: f64,
        /// Most packets a second.
        most: f64,
    },
    /// People behind one bottleneck get alike: Jain's fairness index of what is sent to them.
    Fair {
        /// Who.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// Least index; 1 is all alike.
        index: f64,
    },
    /// Slots of lower priority are paused first.
    Priority {
        /// Whose slots.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
    },
    /// Slots are not paused longer than a share of the time.
    Paused {
        /// Whose slots.
        who: String,
        /// Since when.
        from_s: f64,
        /// Until when.
        until_s: f64,
        /// Least share of slots that are paused on average.
        low: f64,
        /// Largest share.
        high: f64,
    },
}

/// What came of one oracle.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What was looked at.
    pub oracle: String,
    /// What it came to.
    pub measured: String,
    /// What was asked for.
    pub required: String,
    /// Whether it holds.
    pub holds: bool,
}

/// A span of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: Time,
    pub(crate) until: Time,
}

impl Span {
    fn new(from_s: f64, until_s: f64) -> Self {
        Self {
            from: at(from_s),
            until: at(until_s),
        }
    }

    fn contains(&self, at: Time) -> bool {
        self.from <= at && at < self.until
    }

    fn length(&self) -> Duration {
        self.until.since(self.from)
    }

    fn minutes(&self) -> f64 {
        self.length().as_secs_f64() / 60.0
    }
}

fn at(seconds: f64) -> Time {
    Time::ZERO + Duration::from_secs_f64(seconds)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The peers of a group or of a person: the newest of each.
fn peers<'a>(world: &'a World<'_>, who: &str) -> Vec<&'a Connected> {
    let scenario = world.scenario;
    let people = scenario
        .members(who)
        .or_else(|_| scenario.person(who).map(|person| person..person + 1))
        .unwrap_or_default();
    people
        .filter_map(|person| world.current[person])
        .map(|peer| &world.peers[peer])
        .collect()
}

impl Oracle {
    /// Names refer to something.
    pub(crate) fn check(&self, scenario: &Scenario) -> Result<(), String> {
        match self {
            Self::Decodable {} => Ok(()),
            Self::Speakers { .. } => match &scenario.talk {
                Some(_) => Ok(()),
                None => Err("nobody talks".to_owned()),
            },
            Self::EstimateRises { who, .. }
            | Self::EstimateFalls { who, .. }
            | Self::QueueingDelay { who, .. }
            | Self::LayerChanges { who, .. }
            | Self::Shows { who, .. }
            | Self::FirstMedia { who, .. }
            | Self::KeyframeRequests { who, .. }
            | Self::Freezes { who, .. }
            | Self::Resumes { who, .. }
            | Self::Audio { who, .. }
            | Self::SoundCost { who, .. }
            | Self::Fair { who, .. }
            | Self::Priority { who, .. }
            | Self::Paused { who, .. } => scenario
                .members(who)
                .map(drop)
                .or_else(|_| scenario.person(who).map(drop)),
        }
    }

    /// Whether it holds for a call that is over.
    pub(crate) fn judge(&self, world: &World<'_>) -> Vec<Verdict> {
        match self {
            Self::Decodable {} => media::decodable(world),
            Self::EstimateRises {
                who,
                at_s,
                within_s,
                until_s,
                low,
                high,
            } => estimate::rises(
                &peers(world, who),
                Span::new(*at_s, *until_s),
                Duration::from_secs_f64(*within_s),
                (*low, *high),
            ),
            Self::EstimateFalls {
                who,
                at_s,
                within_s,
                until_s,
            } => estimate::falls(
                &peers(world, who),
                Span::new(*at_s, *until_s),
                Duration::from_secs_f64(*within_s),
            ),
            Self::QueueingDelay {
                who,
                from_s,
                until_s,
                p95_ms,
            } => estimate::queueing_delay(world, &peers(world, who), Span::new(*from_s, *until_s), *p95_ms),
            Self::LayerChanges {
                who,
                from_s,
                until_s,
                per_minute,
            } => picture::layer_changes(&peers(world, who), Span::new(*from_s, *until_s), *per_minute),
            Self::Shows {
                who,
                slot,
                layer,
                from_s,
                until_s,
                share,
            } => picture::shows(
                &peers(world, who),
                *slot,
                *layer,
                Span::new(*from_s, *until_s),
                *share,
            ),
            Self::FirstMedia {
                who,
                audio_ms,
                video_ms,
            } => media::first_media(&peers(world, who), *audio_ms, *video_ms),
            Self::KeyframeRequests {
                who,
                from_s,
                until_s,
                most,
            } => media::keyframe_requests(&peers(world, who), Span::new(*from_s, *until_s), *most),
            Self::Freezes {
                who,
                from_s,
                until_s,
                per_minute,
                longest_ms,
            } => picture::freezes(
                world,
                &peers(world, who),
                Span::new(*from_s, *until_s),
                (*per_minute, *longest_ms),
            ),
            Self::Resumes { who, at_s, within_ms } => {
                picture::resumes(&peers(world, who), at(*at_s), *within_ms)
            }
            Self::Speakers {
                within_ms,
                wrong_per_minute,
            } => speech::speakers(world, *within_ms, *wrong_per_minute),
            Self::SoundCost { who, least, most } => {
                speech::sound_cost(world, &peers(world, who), (*least, *most))
            }
            Self::Audio { who, share } => media::audio(world, &peers(world, who), *share),
            Self::Fair {
                who,
                from_s,
                until_s,
                index,
            } => estimate::fair(&peers(world, who), Span::new(*from_s, *until_s), *index),
            Self::Priority { who, from_s, until_s } => {
                picture::priority(world, &peers(world, who), Span::new(*from_s, *until_s))
            }
            Self::Paused {
                who,
                from_s,
                until_s,
                low,
                high,
            } => picture::paused(&peers(world, who), Span::new(*from_s, *until_s), (*low, *high)),
        }
    }
}

/// The worst of many: the largest by `key`, with its owner.
fn worst<T, K: PartialOrd>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Option<T> {
    items
        .into_iter()
        .reduce(|worst, item| if key(&item) > key(&worst) { item } else { worst })
}

/// An oracle that had nothing to look at does not hold.
fn nothing(oracle: &str, required: String) -> Vec<Verdict> {
    vec![Verdict {
        oracle: oracle.to_owned(),
        measured: "nothing to measure".to_owned(),
        required,
        holds: false,
    }]
}
