//! What came of a run, as one line of JSON and as a table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use kall_dataplane::srtp::Profile;
use serde_json::{Value, json};

use super::engine::Totals;
use super::scenario::Scenario;
use crate::limit::Limit;

/// Failures that are told.
const FAILURES_MAX: usize = 5;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    value: Value,
    /// What the clients' keys are for.
    pub profile: Option<Profile>,
    /// Processor time of the data plane for each forwarded packet, in nanoseconds.
    pub cpu_ns_per_packet: Option<f64>,
    /// Share of the packets that did not come.
    pub loss: f64,
    /// Forwarded packets in each second.
    pub packets_per_second: f64,
    /// Subscribers that got media.
    pub joined: usize,
}

fn percentile(sorted: &[Duration], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = (last as f64 * share).round() as usize;
    Some(sorted[place].as_secs_f64() * 1e3)
}

impl Report {
    /// Puts together what was measured; `joins` in their order, `rss` before and after the subscribers came.
    #[must_use]
    pub fn new(
        scenario: &Scenario,
        totals: &Totals,
        joins: &[Duration],
        cpu: Option<Duration>,
        rss: Option<(u64, u64)>,
        failures: &[String],
    ) -> Self {
        let counts = &totals.counts;
        let seconds = totals.length.as_secs_f64();
        let packets = counts.packets + counts.repairs;
        let cpu_ns_per_packet = cpu
            .filter(|_| packets > 0)
            .map(|cpu| cpu.as_nanos() as f64 / packets as f64);
        let latency = |share: f64| {
            let there = !totals.latency.is_empty();
            there.then(|| totals.latency.value_at_quantile(share))
        };
        let value = json!({
            "scenario": scenario.name,
            "publishers": scenario.publishers.len(),
            "subscribers": scenario.subscribers,
            "joined": joins.len(),
            "join_p50_ms": percentile(joins, 0.5),
            "join_p99_ms": percentile(joins, 0.99),
            "seconds": seconds,
            "packets_in": totals.sent,
            "packets_out": packets,
            "packets_per_second": packets as f64 / seconds,
            "bits_per_second": counts.bytes as f64 * 8.0 / seconds,
            "loss": counts.loss(),
            "loss_of_present": totals.present.loss(),
            "duplicates": counts.duplicates,
            "reordered": counts.reordered,
            "repairs": counts.repairs,
            "verified_packets": counts.verified,
            "forged_packets": counts.forged,
            "latency_p50_us": latency(0.5),
            "latency_p99_us": latency(0.99),
            "latency_p999_us": latency(0.999),
            "dataplane_cpu_ns_per_packet": cpu_ns_per_packet,
            "dataplane_cpu_share": cpu.map(|cpu| cpu.as_secs_f64() / seconds),
            "generator_cpu_share": totals.cpu.as_secs_f64() / seconds,
            "rss_bytes": rss.map(|(_, after)| after),
            "rss_per_subscriber_bytes": rss.map(|(before, after)|
                after.saturating_sub(before) / scenario.subscribers.max(1) as u64),
            "profile": totals.profile.map(Profile::name),
            "failures": failures.iter().take(FAILURES_MAX).collect::<Vec<_>>(),
        });
        Self {
            value,
            profile: totals.profile,
            cpu_ns_per_packet,
            loss: counts.loss(),
            packets_per_second: packets as f64 / seconds,
            joined: joins.len(),
        }
    }

    /// Adds what the scenario's ideal runs cost in the same minute on the same CPU.
    pub fn add_limit(&mut self, raw: &Limit, sealed: &Limit) {
        self.add("limit_raw_cpu_ns_per_packet", json!(raw.cpu_ns_per_packet()));
        self.add("limit_cpu_ns_per_packet", json!(sealed.cpu_ns_per_packet()));
        let ratio = self.cpu_ns_per_packet.map(|own| own / sealed.cpu_ns_per_packet());
        self.add("ratio", json!(ratio));
    }

    /// Adds how late media was for those who were there, before the others came and while they did.
    pub fn add_storm(&mut self, quiet: &Totals, storm: &Totals) {
        for (when, totals) in [("quiet", quiet), ("storm", storm)] {
            let latency = &totals.latency_of_present;
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
                let value = (!latency.is_empty()).then(|| latency.value_at_quantile(share));
                self.add(&format!("{when}_latency_{name}_us"), json!(value));
            }
            self.add(&format!("{when}_loss"), json!(totals.present.loss()));
        }
        self.add("storm_seconds", json!(storm.length.as_secs_f64()));
    }

    /// Adds how often some threads made each system call, and how often that is for each packet.
    pub fn add_syscalls(&mut self, threads: &str, counts: &BTreeMap<String, u64>) {
        let packets = self.value["packets_out"].as_u64().unwrap_or_default().max(1);
        for (name, &calls) in counts {
            let figures = json!({ "calls": calls, "per_packet": calls as f64 / packets as f64 });
            self.add(&format!("{threads}_syscall_{name}"), figures);
        }
        let futex = counts.get("futex").copied().unwrap_or_default();
        self.add(&format!("{threads}_futex_calls"), json!(futex));
    }

    /// A figure.
    #[must_use]
    pub fn get(&self, key: &str) -> &Value {
        &self.value[key]
    }

    /// Adds a figure.
    pub fn add(&mut self, key: &str, value: Value) {
        self.value[key] = value;
    }

    /// One line.
    #[must_use]
    pub fn json(&self) -> String {
        self.value.to_string()
    }

    /// A line for each figure.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = self.value.as_object().into_iter().flatten();
        let lines: Vec<String> = rows
            .map(|(key, value)| match value.as_f64() {
                Some(number) if number.fract() != 0.0 && number.abs() < 1.0 => {
                    format!("{key:32} {number:.5}")
                }
                Some(number) => format!("{key:32} {number:.0}"),
                None => format!("{key:32} {value}"),
            })
            .collect();
        lines.join("\n")
    }
}
