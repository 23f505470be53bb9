//! Writes feedback from arrival times. One message takes as many statuses as fit the buffer and
//! 16-bit deltas; the caller writes the rest into the next.

use super::super::super::writer::Writer;
use super::super::{HEADER_LEN, TYPE_TRANSPORT_FEEDBACK, finish, start};
use super::chunk::{Chunk, NARROW_LEN, RUN_MAX, Symbol, WIDE_LEN};
use super::{FIXED_LEN, FORMAT, REFERENCE_TICKS, STATUSES_MAX};

/// What a message says beside the arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback {
    /// Who received.
    pub sender_ssrc: u32,
    /// One of the streams of the transport.
    pub media_ssrc: u32,
    /// Transport sequence number of the first arrival.
    pub base_sequence: u16,
    /// Rises by one with each message.
    pub feedback_count: u8,
}

/// What became of a call of [`write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the message.
    pub len: usize,
    /// How many of the arrivals it took, from the first.
    pub statuses: usize,
}

/// Writes one message. `arrivals` are the packets from the base sequence on, in sequence order: ticks
/// of 250 µs on the receiver's clock, `None` for those that did not come. The clock may start
/// anywhere but must not change between messages; only its low 32 bits are told.
///
/// `None` when the buffer has no room for the first arrivals, or none of those that fit came: there is
/// nothing to tell then.
pub fn write(buf: &mut [u8], feedback: &Feedback, arrivals: &[Option<u64>]) -> Option<Written> {
    // Whole words only, so that padding can't run over the end.
    let room = buf.len() / 4 * 4;
    let room = room.checked_sub(HEADER_LEN + 8 + FIXED_LEN)?;
    let arrivals = &arrivals[..arrivals.len().min(STATUSES_MAX)];
    let reference = arrivals.iter().flatten().next()? / REFERENCE_TICKS.unsigned_abs();
    let deltas = Deltas {
        arrivals,
        clock: reference * REFERENCE_TICKS.unsigned_abs(),
    };
    let statuses = fitting(deltas.clone(), room);
    let deltas = Deltas {
        arrivals: &arrivals[..statuses],
        ..deltas
    };
    if arrivals[..statuses].iter().all(Option::is_none) {
        return None;
    }

    let mut out = start(buf, TYPE_TRANSPORT_FEEDBACK, usize::from(FORMAT))?;
    out.u32(feedback.sender_ssrc)?;
    out.u32(feedback.media_ssrc)?;
    out.u16(feedback.base_sequence)?;
    // At most STATUSES_MAX.
    out.u16(statuses as u16)?;
    // Wraps at 24 bits by its format.
    out.u24(reference as u32)?;
    out.u8(feedback.feedback_count)?;
    let mut rest = deltas.clone();
    while let Some((chunk, len)) = next_chunk(&rest) {
        out.u16(chunk.0)?;
        rest.by_ref().take(len).for_each(drop);
    }
    write_deltas(&mut out, deltas)?;
    Some(Written {
        len: finish(out)?,
        statuses,
    })
}

/// How many statuses fit `room` bytes of chunks and deltas, before a delta that needs a new
/// reference time.
fn fitting(mut rest: Deltas<'_>, mut room: usize) -> usize {
    let mut statuses = 0;
    while let Some((_, len)) = next_chunk(&rest) {
        let Some(left) = room.checked_sub(2) else {
            break;
        };
        room = left;
        for _ in 0..len {
            let delta_len = rest.next().map_or(0, |delta| Symbol::of(delta).delta_len());
            let Some(left) = room.checked_sub(delta_len) else {
                return statuses;
            };
            room = left;
            statuses += 1;
        }
    }
    statuses
}

/// The chunk that says most of the next statuses, and how many it takes. The choice looks at no more
/// than the statuses given, so a cut list never needs more chunks than the whole.
fn next_chunk(rest: &Deltas<'_>) -> Option<(Chunk, usize)> {
    let symbols = || rest.clone().map(Symbol::of);
    let first = symbols().next()?;
    let run = symbols()
        .take(RUN_MAX)
        .take_while(|symbol| *symbol == first)
        .count();
    let narrow = symbols()
        .take(NARROW_LEN)
        .take_while(|symbol| *symbol != Symbol::Large)
        .count();
    let available = symbols().take(NARROW_LEN).count();
    // A narrow vector has room for 14 always, so it may only stop short at the end of the list.
    let narrow = if narrow == available { narrow } else { 0 };
    let wide = available.min(WIDE_LEN);
    Some(if run >= narrow.max(wide) {
        (Chunk::run(first, run), run)
    } else if narrow >= wide {
        (Chunk::narrow(symbols().take(narrow)), narrow)
    } else {
        (Chunk::wide(symbols().take(wide)), wide)
    })
}

fn write_deltas(out: &mut Writer<'_>, deltas: Deltas<'_>) -> Option<()> {
    for delta in deltas.flatten() {
        match u8::try_from(delta) {
            Ok(small) => out.u8(small)?,
            Err(_) => out.u16(delta.cast_unsigned())?,
        }
    }
    Some(())
}

/// Arrivals as deltas; ends at the first that 16 bits can't hold.
#[derive(Clone)]
struct Deltas<'a> {
    arrivals: &'a [Option<u64>],
    clock: u64,
}

impl Iterator for Deltas<'_> {
    type Item = Option<i16>;

    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = self.arrivals.split_first()?;
        let delta = match first {
            None => None,
            Some(arrival) => {
                let delta = arrival.wrapping_sub(self.clock).cast_signed();
                let Ok(delta) = i16::try_from(delta) else {
                    self.arrivals = &[];
                    return None;
                };
                self.clock = *arrival;
                Some(delta)
            }
        };
        self.arrivals = rest;
        Some(delta)
    }
}
