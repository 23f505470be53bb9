//! Template ids of a slot's dependency descriptors, over every change of source.
//!
//! Two structures that follow each other must not share template ids, or a late packet of the first
//! would be read by the second. Publishers keep to that within a stream; between streams the ids are shifted here.

use super::rewriter::SourceId;
use crate::codec::dependency_descriptor::Structure;

/// The shifts of one slot, modulo 64.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplateIds {
    current: Option<(SourceId, u8)>,
    /// Of the source before, whose late packets may still come.
    before: Option<(SourceId, u8)>,
    /// The id after the newest structure's last template.
    next: u8,
}

impl TemplateIds {
    /// A key frame of `source` with this structure is sent: its ids stand after those before, if the source is new.
    pub fn on_structure(&mut self, source: SourceId, structure: &Structure) {
        let shift = match self.current {
            Some((own, shift)) if own == source => shift,
            _ => {
                self.before = self.current;
                let shift = self.next.wrapping_sub(structure.offset) & 0x3f;
                self.current = Some((source, shift));
                shift
            }
        };
        let count = structure.templates().len() as u8;
        self.next = structure.offset.wrapping_add(shift).wrapping_add(count) & 0x3f;
    }

    /// What is added to the template ids of a source.
    #[must_use]
    pub fn shift(&self, source: SourceId) -> u8 {
        [self.current, self.before]
            .into_iter()
            .flatten()
            .find(|(own, _)| *own == source)
            .map_or(0, |(_, shift)| shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dependency_descriptor::testing::{l1t3, l3t3_key};

    #[test]
    fn structures_that_follow_each_other_share_no_id() {
        let (low, high) = (SourceId(1), SourceId(2));
        let mut ids = TemplateIds::default();
        ids.on_structure(low, &l1t3(60));
        assert_eq!(ids.shift(low), 4, "from zero on");
        ids.on_structure(high, &l1t3(60));
        assert_eq!(ids.shift(high), 9, "after five templates");
        assert_eq!(ids.shift(low), 4, "late packets are read as before");
        // Within a source it is the publisher who moves on.
        ids.on_structure(high, &l3t3_key(1));
        assert_eq!(ids.shift(high), 9);
        ids.on_structure(low, &l1t3(60));
        // From 10 on there were fifteen.
        assert_eq!((60 + ids.shift(low)) % 64, 25);
    }
}
