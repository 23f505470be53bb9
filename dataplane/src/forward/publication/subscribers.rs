//! Who takes a publication, and which of its layers: what nobody takes is neither asked for nor forwarded.

use super::Publication;
use crate::forward::layers::LAYERS_MAX;
use crate::shard::slab::Key;

/// A slot that takes packets of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The receiving session.
    pub session: Key,
    /// Index of its slot.
    pub slot: u8,
    /// Bit `n` set: packets of layer `n` are wanted. Changed by [`Publication::set_layers`] alone, which
    /// keeps count.
    layers: u8,
}

impl Subscriber {
    /// Whether packets of a layer are wanted.
    #[must_use]
    pub fn takes(&self, layer: u8) -> bool {
        self.layers & 1 << layer != 0
    }

    /// Whether packets of any layer are wanted.
    #[must_use]
    pub fn takes_any(&self) -> bool {
        self.layers != 0
    }
}

impl Publication {
    /// Says which layers a slot takes or waits for. True when the number of takers of any changed.
    pub fn set_layers(&mut self, session: Key, slot: u8, layers: u8) -> bool {
        let found = self
            .subscribers
            .iter_mut()
            .find(|subscriber| subscriber.session == session && subscriber.slot == slot);
        let Some(subscriber) = found else {
            return false;
        };
        let before = std::mem::replace(&mut subscriber.layers, layers);
        self.count(before, layers);
        before != layers
    }

    pub(in crate::forward) fn count(&mut self, before: u8, after: u8) {
        let scalable = self.is_scalable();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let bit = |mask: u8| mask >> index & 1 == 1;
            match (bit(before), bit(after)) {
                (false, true) => layer.takers += 1,
                (true, false) => {
                    layer.takers = layer.takers.saturating_sub(1);
                    if layer.takers == 0 && !scalable {
                        layer.keyframes.cancel();
                    }
                }
                _ => {}
            }
        }
        // The requests for one stream stand with its first layer, whichever is taken.
        if scalable
            && self.takers().iter().all(|takers| *takers == 0)
            && let Some(layer) = self.layers.first_mut()
        {
            layer.keyframes.cancel();
        }
    }

    /// How many slots take each layer or wait for it.
    #[must_use]
    pub fn takers(&self) -> [u32; LAYERS_MAX] {
        let mut takers = [0; LAYERS_MAX];
        for (count, layer) in takers.iter_mut().zip(&self.layers) {
            *count = layer.takers;
        }
        takers
    }

    /// Adds a slot that takes nothing yet.
    pub fn subscribe(&mut self, session: Key, slot: u8) {
        self.subscribers.push(Subscriber {
            session,
            slot,
            layers: 0,
        });
    }

    /// Removes a slot from the subscribers.
    pub fn unsubscribe(&mut self, session: Key, slot: u8) {
        self.set_layers(session, slot, 0);
        self.subscribers
            .retain(|subscriber| !(subscriber.session == session && subscriber.slot == slot));
    }
}
