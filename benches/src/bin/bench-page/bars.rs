//! The bars of the data plane and what was measured for each, from the lines that `benches/bars.sh` wrote.

use std::fmt::Write as _;

use serde_json::Value;

use super::read::Row;

/// Everything that one run of `make bars` measured.
#[derive(Debug)]
pub(crate) struct Bars {
    lines: Vec<(String, Value)>,
    /// Nanoseconds of a packet over a lane on each of its two cores, beside the copy of its payload.
    lane: Option<f64>,
}

/// One row of the second table.
type Judged = (&'static str, Option<String>, &'static str, Option<bool>);

impl Bars {
    /// Takes the lines, `{"row": NAME, "report": {…}}` each, and criterion's figures, of which the lane's are needed.
    pub(crate) fn new(lines: &str, criterion: &[Row]) -> Result<Self, serde_json::Error> {
        let parsed = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line)?;
            let name = line["row"].as_str().unwrap_or_default().to_owned();
            Ok((name, line["report"].take()))
        });
        let lane = |name| {
            let row = criterion
                .iter()
                .find(|row| row.group == "lane, one thread" && row.name == name)?;
            Some(row.median)
        };
        let lane = lane("lane").zip(lane("copy of the payload alone"));
        Ok(Self {
            lines: parsed.collect::<Result<_, _>>()?,
            lane: lane.map(|(both, copy)| (both - copy) / 2.0),
        })
    }

    /// The last report of a row.
    fn last(&self, row: &'static str) -> &Value {
        self.all(row).last().unwrap_or(&Value::Null)
    }

    fn all(&self, row: &'static str) -> impl Iterator<Item = &Value> {
        self.lines
            .iter()
            .filter(move |(name, _)| name == row)
            .map(|(_, report)| report)
    }

    fn number(&self, row: &'static str, key: &str) -> Option<f64> {
        self.last(row)[key].as_f64()
    }

    /// As Markdown.
    pub(crate) fn section(&self, machine: &str) -> String {
        let mut text = format!("Measured on {machine}, all in one run.\n\n");
        text += "| scenario | packets/s | ns of CPU a packet | sealed limit | ratio | bar | | loss | latency p50, p99 |\n\
                 |---|---|---|---|---|---|---|---|---|\n";
        for (row, what, bar) in [
            ("livestream", "livestream, 500 subscribers", 1.5),
            ("meeting", "meeting, 10 publishers, 40 subscribers", 1.8),
            ("audio", "audio, 10 talkers, 800 listeners", 1.6),
        ] {
            text += &ratio_row(self.last(row), what, bar);
        }
        text += "\n| what | measured | bar | |\n|---|---|---|---|\n";
        for (what, measured, bar, met) in self.judged() {
            let measured = measured.unwrap_or_else(|| "not measured".to_owned());
            let met = met.map_or("", verdict);
            // Writing to a string does not fail, here and below.
            let _ = writeln!(text, "| {what} | {measured} | {bar} | {met} |");
        }
        text += "\nLoad and latency, from the steps of `capacity`:\n\n\
                 | subscribers | packets/s | ns a packet | sealed limit | of the core | loss | p50 | p99 | p99.9 |\n\
                 |---|---|---|---|---|---|---|---|---|\n";
        for report in self
            .all("capacity")
            .filter(|report| report["scenario"] == "capacity")
        {
            text += &load_row(report);
        }
        text
    }

    fn judged(&self) -> Vec<Judged> {
        vec![
            self.storm(),
            self.capacity(),
            self.memory(
                "memory",
                "memory of a subscriber with 1 video and 3 audio slots",
                (64.0, "64 KiB"),
            ),
            self.memory(
                "memory-16",
                "the same with 13 video and 3 audio slots, 1 and 1 in use",
                (256.0, "256 KiB"),
            ),
            self.memory(
                "memory-16-in-use",
                "the same with all 16 in use",
                (256.0, "256 KiB"),
            ),
            self.idle(),
            self.cores(),
            (
                "a lane: a packet on each of the two cores, beside the copy of its payload",
                self.lane.map(|ns| format!("{ns:.0} ns")),
                "40 ns",
                self.lane.map(|ns| ns <= 40.0),
            ),
            self.waiting(),
            self.syscalls(),
            {
                let ratio = self.number("limit", "raw_to_sendto");
                (
                    "the limit itself: raw runs of 10 against `sendto`",
                    ratio.map(|ratio| format!("{ratio:.3}")),
                    "0.25",
                    ratio.map(|ratio| ratio <= 0.25),
                )
            },
        ]
    }

    fn storm(&self) -> Judged {
        let report = self.last("storm");
        let [joined, wanted, lost, late] =
            ["joined", "subscribers", "loss_of_present", "join_p99_ms"].map(|key| report[key].as_f64());
        let all = joined.zip(wanted).zip(lost);
        (
            "join storm: 500 within 2 s beside those who are there",
            all.map(|((joined, wanted), lost)| {
                format!(
                    "{joined} of {wanted} joined and receiving, after {:.0} ms at p99; of those present {} lost",
                    late.unwrap_or(f64::NAN),
                    share(lost)
                )
            }),
            "all, nothing lost",
            all.map(|((joined, wanted), lost)| joined == wanted && lost == 0.0),
        )
    }

    fn capacity(&self) -> Judged {
        let report = self.last("capacity");
        let ns = report["dataplane_cpu_ns_per_packet"].as_f64();
        let measured = ns.map(|ns| {
            let figure = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
            format!(
                "{} subscribers, {:.0} packets/s, {} lost; {ns:.0} ns a packet, {:.2} times the sealed limit",
                report["subscribers"],
                figure("packets_per_second"),
                share(figure("loss")),
                figure("ratio")
            )
        });
        (
            "capacity: subscribers of 600 kbit/s on one core",
            measured,
            "2,150 ns",
            ns.map(|ns| ns <= 2_150.0),
        )
    }

    fn memory(&self, row: &'static str, what: &'static str, bar: (f64, &'static str)) -> Judged {
        let kib = self.number(row, "bytes_of_one_more").map(|bytes| bytes / 1_024.0);
        (
            what,
            kib.map(|kib| format!("{kib:.1} KiB")),
            bar.1,
            kib.map(|kib| kib <= bar.0),
        )
    }

    fn idle(&self) -> Judged {
        let busy = self.number("idle", "dataplane_cpu_share");
        (
            "idle: 2,000 connected viewers",
            busy.map(|busy| format!("{} of a core", share(busy))),
            "3 %",
            busy.map(|busy| busy < 0.03),
        )
    }

    fn cores(&self) -> Judged {
        let ns = |row| self.number(row, "dataplane_cpu_ns_per_packet");
        let both = ns("one-core").zip(ns("two-cores"));
        (
            "two cores instead of one: a livestream of 400",
            both.map(|(one, two)| {
                format!(
                    "{two:.0} against {one:.0} ns a packet, {:+.0} %",
                    (two / one - 1.0) * 100.0
                )
            }),
            "within 15 %",
            both.map(|(one, two)| two <= one * 1.15),
        )
    }

    /// How late media is while a thousand come to another room of the core.
    fn waiting(&self) -> Judged {
        let at = |key| self.number("elsewhere", key).map(|micros| micros / 1e3);
        let both = at("quiet_latency_p99_us").zip(at("storm_latency_p99_us"));
        (
            "p99 of media while 1,000 join within a second, and before",
            both.map(|(quiet, storm)| format!("{storm:.1} and {quiet:.1} ms")),
            "2 ms between them",
            both.map(|(quiet, storm)| storm - quiet <= 2.0),
        )
    }

    fn syscalls(&self) -> Judged {
        let report = self.last("syscalls");
        let calls = report.as_object().map(|_| {
            report["core_syscall_io_uring_enter"]["per_packet"]
                .as_f64()
                .unwrap_or(0.0)
        });
        let others = report.as_object().map(|object| {
            object
                .iter()
                .filter(|(key, _)| key.starts_with("core_syscall_") && !key.ends_with("io_uring_enter"))
                .map(|(_, figures)| figures["per_packet"].as_f64().unwrap_or_default())
                // A sum of nothing is minus zero.
                .fold(0.0, |sum, calls| sum + calls)
        });
        let both = calls.zip(others);
        (
            "system calls of the core for each packet: the ring's, and others",
            both.map(|(ring, others)| format!("{ring:.4} and {others:.6}")),
            "only the ring's; one other in 10,000 packets",
            both.map(|(ring, others)| ring > 0.0 && others < 1e-4),
        )
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

fn share(value: f64) -> String {
    if value == 0.0 {
        return "nothing".to_owned();
    }
    let digits = if value < 1e-3 { 4 } else { 2 };
    format!("{:.digits$} %", value * 100.0)
}

fn millis(report: &Value, key: &str) -> String {
    let micros = report[key].as_f64().unwrap_or(f64::NAN);
    format!("{:.1}", micros / 1e3)
}

fn ratio_row(report: &Value, what: &str, bar: f64) -> String {
    let figure = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let (Some(ratio), Some(loss)) = (report["ratio"].as_f64(), report["loss"].as_f64()) else {
        return format!("| {what} | not measured | | | | {bar}, nothing lost | | | |\n");
    };
    format!(
        "| {what} | {:.0} | {:.0} | {:.0} | {ratio:.2} | {bar}, nothing lost | {} | {} | {}, {} ms |\n",
        figure("packets_per_second"),
        figure("dataplane_cpu_ns_per_packet"),
        figure("limit_cpu_ns_per_packet"),
        verdict(ratio <= bar && loss == 0.0),
        share(loss),
        millis(report, "latency_p50_us"),
        millis(report, "latency_p99_us"),
    )
}

fn load_row(report: &Value) -> String {
    let figure = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    format!(
        "| {} | {:.0} | {:.0} | {:.0} | {:.0} % | {} | {} ms | {} ms | {} ms |\n",
        report["subscribers"],
        figure("packets_per_second"),
        figure("dataplane_cpu_ns_per_packet"),
        figure("limit_cpu_ns_per_packet"),
        figure("dataplane_cpu_share") * 100.0,
        share(figure("loss")),
        millis(report, "latency_p50_us"),
        millis(report, "latency_p99_us"),
        millis(report, "latency_p999_us"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::some;

    #[test]
    fn a_bar_is_met_or_missed() {
        let lines = "\
            {\"row\":\"livestream\",\"report\":{\"ratio\":1.4,\"loss\":0.0,\"packets_per_second\":1000.4}}\n\
            {\"row\":\"audio\",\"report\":{\"ratio\":1.7,\"loss\":0.0}}\n\
            {\"row\":\"memory\",\"report\":{\"bytes_of_one_more\":null}}\n\
            {\"row\":\"memory\",\"report\":{\"bytes_of_one_more\":51200.0}}\n\
            {\"row\":\"capacity\",\"report\":{\"scenario\":\"capacity\",\"subscribers\":200,\"dataplane_cpu_ns_per_packet\":2151.0}}\n";
        let lane = |name, median| Row {
            group: "lane, one thread".to_owned(),
            ..some(name, median)
        };
        let criterion = [lane("lane", 100.0), lane("copy of the payload alone", 50.0)];
        let text = Bars::new(lines, &criterion).unwrap().section("today, here");
        for part in [
            "today, here",
            "| livestream, 500 subscribers | 1000 | NaN | NaN | 1.40 | 1.5, nothing lost | met | nothing |",
            "| 1.70 | 1.6, nothing lost | **missed** |",
            "| meeting, 10 publishers, 40 subscribers | not measured |",
            "3 audio slots | 50.0 KiB | 64 KiB | met |",
            "| 2,150 ns | **missed** |",
            "payload | 25 ns | 40 ns | met |",
            "| idle: 2,000 connected viewers | not measured | 3 % |  |",
            "| 200 | NaN | 2151 |",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_line_that_is_no_report_is_an_error() {
        assert!(Bars::new("kall-load: no CPU", &[]).is_err());
    }
}
