//! `1 − |ρ|^u` over many orders u.

use super::octaves::{NODES, Octave};
use crate::isa::Real;
use crate::math::special::{expm1, log1p_unit};

/// `1 − |ρ|^u` at the nodes of octaves.
#[derive(Clone, Copy)]
pub(super) struct OneMinusPower<R> {
    /// `−ln |ρ|` and `1 − |ρ|`, of a larger |ρ| where this is so small that nothing here is wanted.
    pub decay: R,
    pub size: R,
    /// Those of the first two octaves.
    pub first: [[R; NODES]; 2],
}

impl<R: Real> OneMinusPower<R> {
    #[inline(always)]
    pub fn new(size: R, octaves: &[Octave]) -> Self {
        let size = size.min(R::splat(0.5));
        let decay = log1p_unit(size / (R::splat(1.0) - size));
        let mut first = [[R::splat(1.0); NODES]; 2];
        for (falls, octave) in first.iter_mut().zip(octaves) {
            for (fall, u) in falls.iter_mut().zip(octave.nodes) {
                *fall = -expm1(R::splat(-u) * decay);
            }
        }
        Self { decay, size, first }
    }

    /// Those of this octave, given those of the one before: from the third on, nodes are twice those before.
    #[inline(always)]
    pub fn advance(&self, index: usize, falls: &mut [R; NODES]) {
        if index < 2 {
            *falls = self.first[index];
            return;
        }
        for fall in falls {
            *fall = *fall * (R::splat(2.0) - *fall);
        }
    }
}
