//! `1 − |ρ|^u` for many exponents u.

use super::octaves::{NODES, Octave};
use crate::isa::Real;
use crate::math::special::{expm1, log1p_unit};

/// `1 − |ρ|^u` at the nodes u of the octaves.
///
/// A |ρ| below 1/2 counts as 1/2 here: `|ρ|^u` is negligible at every node in either case.
#[derive(Clone, Copy)]
pub(super) struct OneMinusPower<R> {
    /// `−ln |ρ|`.
    pub decay: R,
    /// `1 − |ρ|`.
    pub size: R,
    /// `1 − |ρ|^u` at the nodes of the first two octaves.
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

    /// Replaces the values at the nodes of the previous octave by those of octave `index`.
    ///
    /// From the third octave on, each node is twice that of the previous octave: `1 − |ρ|^{2u} = f (2 − f)` with
    /// `f = 1 − |ρ|^u`.
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
