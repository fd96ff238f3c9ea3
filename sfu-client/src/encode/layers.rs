//! Temporal layers: pictures that nobody below refers to, so that they can be left out.
//!
//! ```text
//! 2 layers:  0 1 0 1        1 refers to the 0 before it
//! 3 layers:  0 2 1 2        1 to the 0 before it, the first 2 to that 0 too, the second to the 1
//! ```

/// Where a picture stands among the temporal layers of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layering {
    /// Layers of the stream; 1: none can be left out.
    pub layers: u8,
    /// Its own, 0 for the base.
    pub layer: u8,
    /// It refers to the base layer only: who has had that alone can begin to take its layer.
    pub is_sync: bool,
    /// No other picture refers to it.
    pub is_discardable: bool,
    /// How many pictures back the one is that it refers to; 0 of a keyframe.
    pub reference: u8,
}

impl Layering {
    /// Of the picture `position` after its keyframe, in a stream of so many layers (1 to 4).
    pub(super) fn at(layers: u8, position: u32) -> Self {
        let layers = layers.clamp(1, 4);
        let top = u32::from(layers) - 1;
        let group = 1 << top;
        let within = position & (group - 1);
        // The lowest bit that is set says the layer, and how far away the next lower one is. All are below 16.
        let distance = if within == 0 { group } else { within & within.wrapping_neg() };
        let layer = if within == 0 { 0 } else { (top - within.trailing_zeros()) as u8 };
        Self {
            layers,
            layer,
            is_sync: within.is_power_of_two(),
            is_discardable: layers > 1 && layer + 1 == layers,
            reference: if position == 0 { 0 } else { distance as u8 },
        }
    }
}

impl Default for Layering {
    fn default() -> Self {
        Self::at(1, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_alternate() {
        let of = |layers| (0..9).map(|position| Layering::at(layers, position).layer).collect::<Vec<_>>();
        assert_eq!(of(0), [0; 9]);
        assert_eq!(of(1), [0; 9]);
        assert_eq!(of(2), [0, 1, 0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(of(3), [0, 2, 1, 2, 0, 2, 1, 2, 0]);
        assert_eq!(of(4), [0, 3, 2, 3, 1, 3, 2, 3, 0]);
    }

    #[test]
    fn pictures_refer_to_lower_layers_and_the_base_to_itself() {
        for layers in 1..=4 {
            for position in 1..40 {
                let picture = Layering::at(layers, position);
                let referred = Layering::at(layers, position - u32::from(picture.reference));
                assert!(referred.layer < picture.layer || (picture.layer, referred.layer) == (0, 0), "{picture:?}");
                assert_eq!(picture.is_sync, picture.layer > 0 && referred.layer == 0, "{layers} {position}");
                assert!(!referred.is_discardable);
            }
        }
        assert_eq!(Layering::at(3, 0).reference, 0);
    }
}
