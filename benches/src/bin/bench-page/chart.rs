//! A bar for each bench. Each group has a scale of its own: what is compared stands together.

use std::fmt::Write as _;

use super::read::{Row, nanoseconds};

const WIDTH: u32 = 880;
const MARGIN: u32 = 16;
/// Where the bars begin, and the longest of them.
const BARS: u32 = 350;
const BAR_MAX: f64 = 430.0;
const LINE: u32 = 20;
const BAR: u32 = 12;
/// Above each group, with its title.
const TITLE: u32 = 38;
const HEAD: u32 = 76;

/// Colours with enough contrast to be told apart in both, on grounds of their own: whoever shows the picture may
/// have another one.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.head { font-size: 17px; font-weight: 600 }
.group { font-weight: 600 }
.soft { fill: #59636e }
.ground { fill: #ffffff }
.own { fill: #1668dc }
.other { fill: #c2570c }
.floor { fill: #818b98 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.soft { fill: #9198a1 }
.ground { fill: #0d1117 }
.own { fill: #4c9aff }
.other { fill: #f0883e }
.floor { fill: #7d8590 }
}";

/// Whose row it is.
fn class(name: &str) -> &'static str {
    let is_one_of = |names: &[&str]| names.iter().any(|start| name.starts_with(start));
    if is_one_of(&["webrtc-srtp", "tokio-uring", "crossbeam-channel"]) {
        "other"
    } else if is_one_of(&["floor", "copy", "sendto"]) {
        "floor"
    } else {
        "own"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The picture.
pub(crate) fn svg(machine: &str, rows: &[Row]) -> String {
    let groups: Vec<&[Row]> = rows.chunk_by(|one, next| one.group == next.group).collect();
    let height = HEAD + groups.len() as u32 * TITLE + rows.len() as u32 * LINE + MARGIN;
    let machine = escape(machine);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">\n\
         <title id=\"title\">CPU time of the parts of the data plane</title>\n\
         <desc id=\"description\">Nanoseconds of CPU for one operation of each bench, as bars. {}</desc>\n\
         <style>\n{STYLE}\n</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"head\" x=\"{MARGIN}\" y=\"30\">Nanoseconds of CPU for one operation; less is better</text>\n\
         <text class=\"soft\" x=\"{MARGIN}\" y=\"50\">{machine}</text>\n",
        described(&groups)
    );
    legend(&mut text);
    let mut y = HEAD;
    for group in groups {
        y += TITLE;
        let title = escape(&group[0].group);
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            text,
            "<text class=\"group\" x=\"{MARGIN}\" y=\"{}\">{title}</text>",
            y - 10
        );
        let longest = group
            .iter()
            .map(|row| row.median)
            .fold(f64::MIN_POSITIVE, f64::max);
        for row in group {
            bar(&mut text, y, row, longest);
            y += LINE;
        }
    }
    text += "</svg>\n";
    text
}

/// What the bars show, for who does not see them: the longest and the shortest of each group.
fn described(groups: &[&[Row]]) -> String {
    let sentences: Vec<String> = groups
        .iter()
        .filter_map(|group| {
            let by_time = |one: &&Row, other: &&Row| one.median.total_cmp(&other.median);
            let (least, most) = (group.iter().min_by(by_time)?, group.iter().max_by(by_time)?);
            let said = |row: &Row| format!("{} {} ns", label(row), nanoseconds(row.median));
            Some(format!(
                "{}: from {} to {}.",
                group[0].group,
                said(least),
                said(most)
            ))
        })
        .collect();
    escape(&sentences.join(" "))
}

fn label(row: &Row) -> String {
    match &row.count {
        Some(count) => format!("{}, {count}", row.name),
        None => row.name.clone(),
    }
}

fn legend(text: &mut String) {
    for (place, (class, says)) in [
        ("own", "kall"),
        ("other", "another library"),
        ("floor", "the floor or plain call"),
    ]
    .into_iter()
    .enumerate()
    {
        let x = MARGIN + place as u32 * 150;
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"61\" width=\"{BAR}\" height=\"{BAR}\"/>\
             <text class=\"soft\" x=\"{}\" y=\"72\">{says}</text>",
            x + 18
        );
    }
}

fn bar(text: &mut String, y: u32, row: &Row, longest: f64) {
    let length = (row.median / longest * BAR_MAX).max(1.0);
    let (label, value) = (escape(&label(row)), nanoseconds(row.median));
    let base = y + 13;
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{label}</text>\
         <rect class=\"{}\" x=\"{BARS}\" y=\"{}\" width=\"{length:.1}\" height=\"{BAR}\"/>\
         <text class=\"soft\" x=\"{:.1}\" y=\"{base}\">{value}</text>",
        BARS - 8,
        class(&row.name),
        y + 3,
        f64::from(BARS) + length + 6.0
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::some;

    #[test]
    fn every_row_has_a_bar_and_the_longest_is_full() {
        let rows = [
            some("kall", 50.0),
            some("webrtc-srtp <x>", 100.0),
            some("floor: copy", 25.0),
        ];
        let svg = svg("a machine & a date", &rows);
        assert_eq!(svg.matches(" height=\"12\"/>").count(), 3 + 3, "with the legend");
        assert!(svg.contains("width=\"430.0\""), "{svg}");
        assert!(svg.contains("width=\"215.0\"") && svg.contains("width=\"107.5\""));
        assert!(svg.contains("webrtc-srtp &lt;x&gt;, 1000") && svg.contains("a machine &amp; a date"));
        assert!(svg.contains("<title") && svg.contains("<desc") && svg.contains("prefers-color-scheme"));
        assert!(svg.contains("group: from floor: copy, 1000 25.0 ns to webrtc-srtp"));
    }
}
