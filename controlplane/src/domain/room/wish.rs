//! What a client asks of a track, as the data plane takes it.

use kall_shared::media::{Layer, SlotWish, Source};
use kall_shared::signalling::ErrorCode;

use crate::domain::Rejection;

/// The fields of `subscribe` that say how much of a track is of use. Each `subscribe` is the whole
/// wish: what is absent has its default again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) layer: Option<Layer>,
    pub(super) priority: Option<u8>,
    pub(super) max_width: Option<u32>,
    pub(super) max_height: Option<u32>,
    pub(super) max_fps: Option<u32>,
}

impl Asked {
    /// Refuses bounds that leave nothing to see: who wants nothing unsubscribes.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        for (field, value) in [
            ("max_width", self.max_width),
            ("max_height", self.max_height),
            ("max_fps", self.max_fps),
        ] {
            if value == Some(0) {
                return Err(Rejection::new(
                    ErrorCode::BadMessage,
                    format!("{field}: at least 1; unsubscribe to get nothing"),
                ));
            }
        }
        Ok(())
    }

    /// The wish for a track that shows `source`. A bound beyond what the link can say is none.
    pub(super) fn wish(&self, source: Source) -> SlotWish {
        let default = of_source(source);
        SlotWish {
            layer: self.layer.unwrap_or(default.layer),
            max_width: self.max_width.and_then(|width| u16::try_from(width).ok()),
            max_height: self.max_height.and_then(|height| u16::try_from(height).ok()),
            max_fps: self.max_fps.and_then(|fps| u8::try_from(fps).ok()),
            priority: self.priority.unwrap_or(default.priority),
        }
    }
}

/// What is wanted of a source when nobody says more.
pub(super) fn of_source(source: Source) -> SlotWish {
    SlotWish {
        priority: match source {
            Source::Screen => SlotWish::PRIORITY_SCREEN,
            Source::Camera | Source::Microphone | Source::ScreenAudio => SlotWish::PRIORITY,
        },
        ..SlotWish::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_has_its_default() {
        let nothing = Asked::default();
        assert_eq!(nothing.wish(Source::Camera), SlotWish::default());
        assert_eq!(nothing.wish(Source::Screen).priority, SlotWish::PRIORITY_SCREEN);
        let some = Asked {
            layer: Some(Layer::Medium),
            priority: Some(0),
            max_width: Some(640),
            max_height: Some(360),
            max_fps: Some(15),
        };
        assert_eq!(
            some.wish(Source::Screen),
            SlotWish {
                layer: Layer::Medium,
                max_width: Some(640),
                max_height: Some(360),
                max_fps: Some(15),
                priority: 0,
            }
        );
    }

    #[test]
    fn a_bound_beyond_the_link_is_none_and_zero_is_refused() {
        let wide = Asked {
            max_width: Some(70_000),
            max_height: Some(65_535),
            max_fps: Some(1_000),
            ..Asked::default()
        };
        assert!(wide.check().is_ok());
        let wish = wide.wish(Source::Camera);
        assert_eq!(
            (wish.max_width, wish.max_height, wish.max_fps),
            (None, Some(65_535), None)
        );
        for field in ["max_width", "max_height", "max_fps"] {
            let zero = |name: &str| (name == field).then_some(0);
            let asked = Asked {
                max_width: zero("max_width"),
                max_height: zero("max_height"),
                max_fps: zero("max_fps"),
                ..Asked::default()
            };
            let refused = asked.check().expect_err("zero shows nothing");
            assert_eq!(refused.code, ErrorCode::BadMessage);
            assert!(refused.message.starts_with(field), "{}", refused.message);
        }
    }
}
