//! What all sessions together send and receive at a moment, for the metrics page.
//!
//! A sample asks every core about every session, so it is kept for a while and taken by one request at
//! a time: nobody can make the data plane busy by asking for metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kall_shared::link::{SessionStats, SlotStats};
use kall_shared::media::Layer;

use crate::media::MediaClient;

/// How long a sample stands: the figures in it are over a second.
const FRESH: Duration = Duration::from_secs(1);

/// Sessions in a sample at most, some megabytes on the link. A larger server is measured by these.
const SESSIONS_MAX: usize = 4096;

/// The latest sample, and who takes the next.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    latest: Mutex<Option<(Instant, MediaSample)>>,
    busy: AtomicBool,
}

impl Sampler {
    /// A sample that is fresh, or the one of before while another request takes one. None while there
    /// is no data plane to ask.
    pub(super) async fn sample(&self, media: &MediaClient) -> Option<MediaSample> {
        let known = self.lock().clone();
        if let Some((at, sample)) = &known
            && at.elapsed() < FRESH
        {
            return Some(sample.clone());
        }
        if self.busy.swap(true, Ordering::Acquire) {
            return known.map(|(_, sample)| sample);
        }
        let _turn = Turn(&self.busy);
        let sample = match media.session_stats(None, SESSIONS_MAX).await {
            Ok((sessions, _)) => Some(MediaSample::of(&sessions)),
            Err(error) => {
                tracing::debug!(%error, "no figures of sessions");
                None
            }
        };
        *self.lock() = sample.clone().map(|sample| (Instant::now(), sample));
        sample
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, MediaSample)>> {
        // The value is replaced whole, so a panic elsewhere spoils nothing.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given back also when the request is dropped halfway.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Sums and distributions over sessions.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MediaSample {
    pub(super) sessions: usize,
    pub(super) send_bps: u64,
    pub(super) receive_bps: u64,
    pub(super) queued_packets: u64,
    pub(super) rtt_seconds: Quantiles,
    pub(super) loss_ratio: Quantiles,
    pub(super) estimate_bps: Quantiles,
    pub(super) layers_active: usize,
    pub(super) slots: SlotCensus,
}

/// Occupied slots by what they show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SlotCensus {
    pub(super) low: usize,
    pub(super) medium: usize,
    pub(super) high: usize,
    /// Of a track with one layer, sound included.
    pub(super) single: usize,
    /// Showing nothing new; not counted above.
    pub(super) paused: usize,
}

impl SlotCensus {
    fn add(&mut self, slot: &SlotStats) {
        if slot.track.is_none() {
            return;
        }
        let place = match slot.layer {
            _ if slot.paused => &mut self.paused,
            Some(Layer::Low) => &mut self.low,
            Some(Layer::Medium) => &mut self.medium,
            Some(Layer::High | Layer::Auto) => &mut self.high,
            None => &mut self.single,
        };
        *place += 1;
    }
}

impl MediaSample {
    fn of(sessions: &[SessionStats]) -> Self {
        let total = |figure: fn(&SessionStats) -> u64| sessions.iter().map(figure).sum();
        let quantiles = |figure: fn(&SessionStats) -> Option<f64>| {
            Quantiles::of(sessions.iter().filter_map(figure).collect())
        };
        let mut slots = SlotCensus::default();
        for slot in sessions.iter().flat_map(|session| &session.slots) {
            slots.add(slot);
        }
        let tracks = sessions.iter().flat_map(|session| &session.tracks);
        let layers = tracks.flat_map(|track| &track.layers);
        Self {
            sessions: sessions.len(),
            send_bps: total(|session| session.send_bps),
            receive_bps: total(|session| session.receive_bps),
            queued_packets: total(|session| session.queued_packets),
            rtt_seconds: quantiles(|session| Some(f64::from(session.rtt_ms) / 1e3)),
            loss_ratio: quantiles(|session| Some(f64::from(session.loss_permille) / 1e3)),
            estimate_bps: quantiles(|session| session.estimate_bps.map(|bps| bps as f64)),
            layers_active: layers.filter(|layer| layer.active).count(),
            slots,
        }
    }
}

/// A distribution by three of its values; empty without any.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Quantiles(Option<[f64; 3]>);

impl Quantiles {
    /// The median, what nine of ten stay below, and the largest.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let Some(last) = values.len().checked_sub(1) else {
            return Self(None);
        };
        Self(Some([values[last / 2], values[last * 9 / 10], values[last]]))
    }

    /// Each with its label; nothing when there is nothing to tell.
    pub(super) fn labelled(&self) -> Vec<(&'static str, f64)> {
        let labels = ["quantile=\"0.5\"", "quantile=\"0.9\"", "quantile=\"1\""];
        self.0
            .iter()
            .flat_map(|values| labels.into_iter().zip(*values))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kall_shared::id::{Mid, SessionId, TrackId};

    fn session(rtt_ms: u32, estimate_bps: Option<u64>, slots: Vec<SlotStats>) -> SessionStats {
        SessionStats {
            session: SessionId(u64::from(rtt_ms)),
            rtt_ms,
            estimate_bps,
            send_bps: 1_000,
            receive_bps: 100,
            loss_permille: 10,
            rtx_packets: 0,
            padding_packets: 0,
            queued_packets: 7,
            tracks: Vec::new(),
            slots,
        }
    }

    fn slot(layer: Option<Layer>, paused: bool, occupied: bool) -> SlotStats {
        SlotStats {
            mid: Mid::new("1").expect("a mid"),
            track: occupied.then(|| TrackId::new("tr_a").expect("an id")),
            layer,
            paused,
            bitrate_bps: 0,
            packets: 0,
            bytes: 0,
            lost: 0,
            loss_permille: 0,
            jitter_ms: 0,
            nack_received: 0,
            pli_received: 0,
            rtx_packets: 0,
            layer_changes: 0,
        }
    }

    #[test]
    fn sessions_are_summed_and_ranked() {
        let slots = vec![
            slot(Some(Layer::Low), false, true),
            slot(Some(Layer::High), false, true),
            slot(Some(Layer::High), true, true),
            slot(None, false, true),
            slot(None, false, false),
        ];
        let mut sessions: Vec<SessionStats> = (1..=10)
            .map(|rtt| session(rtt * 10, (rtt == 1).then_some(5_000), Vec::new()))
            .collect();
        sessions.push(session(1_000, None, slots));
        let sample = MediaSample::of(&sessions);
        assert_eq!(
            (sample.sessions, sample.send_bps, sample.receive_bps),
            (11, 11_000, 1_100)
        );
        assert_eq!(sample.queued_packets, 77);
        assert_eq!(sample.rtt_seconds, Quantiles(Some([0.06, 0.1, 1.0])));
        assert_eq!(sample.estimate_bps, Quantiles(Some([5_000.0; 3])));
        assert_eq!(
            sample.slots,
            SlotCensus {
                low: 1,
                medium: 0,
                high: 1,
                single: 1,
                paused: 1
            }
        );
    }

    #[test]
    fn a_server_without_sessions_has_no_distribution() {
        let sample = MediaSample::of(&[]);
        assert_eq!(sample.rtt_seconds.labelled(), []);
        assert_eq!(sample, MediaSample::default());
    }
}
