//! The features of variables that pairs read: a few numbers for each variable, and its coefficients, stored side by
//! side.

use std::ops::Range;

use super::interpolation::{CurveVariable, DIRECT_AT, length};
use super::kink_tail::{self, POWERS, PowerLaw};
use super::octaves::{DIRECT, NODES, Octave, octaves};
use crate::activations::features::{Features, Variables};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::error::Result;
use crate::isa::{Block, Blocks, Real, WIDTH};
use crate::math::double_double::DoubleDouble;

/// The index of a feature that holds one number for each variable.
///
/// After these features comes one feature for each block of variables. It holds the coefficients of that block.
pub(super) const SLOPE: usize = 0;
pub(super) const MEAN: usize = 1;
pub(super) const TERMS: usize = 2;
pub(super) const OCTAVES: usize = 3;
const NUMBERS: usize = 4;

/// The features of up to [`WIDTH`] variables.
#[derive(Clone, Default)]
struct Eight {
    roots: Vec<DoubleDouble>,
    numbers: [Vec<f64>; NUMBERS],
    lists: Blocks,
}

impl Eight {
    fn new(variables: &[CurveVariable<'_>]) -> Self {
        let number = |of: fn(&CurveVariable<'_>) -> f64| variables.iter().map(of).collect();
        Self {
            roots: variables.iter().map(|one| one.root.into()).collect(),
            numbers: [
                number(|one| one.slope),
                number(|one| one.mean),
                number(|one| one.curve.terms),
                number(|one| one.curve.octaves as f64),
            ],
            lists: side_by_side(variables),
        }
    }
}

/// Estimated cycles of interpolating one variable.
const VARIABLE: f64 = 20_000.0;

/// Returns the roots `√E φ²` and the features of the variables N(0, r²). `variable` returns the numbers of one of them,
/// or the derivatives of these numbers.
///
/// # Errors
/// As [`pool::for_each`].
pub(super) fn pack<'a>(
    r: &[DoubleDouble],
    variable: impl Fn(f64) -> CurveVariable<'a> + Sync,
    watch: &mut Watch<'_>,
) -> Result<(Vec<DoubleDouble>, Vec<Blocks>)> {
    let mut blocks = vec![Eight::default(); r.len().div_ceil(WIDTH)];
    let load = Load::new(blocks.len(), VARIABLE * r.len() as f64);
    let describe = |(): &mut (), (block, r): (&mut Eight, &[DoubleDouble]), _: &Stop| {
        let variables: Vec<_> = r.iter().map(|r| variable(r.hi)).collect();
        *block = Eight::new(&variables);
    };
    let items = blocks.iter_mut().zip(r.chunks(WIDTH));
    pool::for_each(items, load, watch, || (), describe)?;
    let roots = blocks.iter().flat_map(|eight| &eight.roots).copied();
    let number = |index: usize| {
        let numbers = blocks.iter().flat_map(|eight| &eight.numbers[index]);
        numbers.copied().collect()
    };
    let (roots, numbers): (_, Vec<_>) = (roots.collect(), (0..NUMBERS).map(number).collect());
    let lists = blocks.into_iter().map(|eight| eight.lists);
    Ok((roots, numbers.into_iter().chain(lists).collect()))
}

/// The coefficients of up to [`WIDTH`] variables: one block for each coefficient, one lane for each variable. Spare
/// lanes repeat the last variable.
fn side_by_side(variables: &[CurveVariable<'_>]) -> Blocks {
    let all = variables.iter().map(|variable| variable.curve.octaves);
    let most = all.max().unwrap_or(0);
    let lists: [Vec<f64>; WIDTH] = std::array::from_fn(|lane| {
        let variable = &variables[lane.min(variables.len() - 1)];
        prolonged(variable.list().to_vec(), variable.curve.octaves, most)
    });
    let values = (0..length(most)).flat_map(|index| lists.each_ref().map(|list| list[index]));
    values.collect()
}

/// Extends a list of coefficients from `octaves_there` octaves to `octaves_wanted`, by its power law.
fn prolonged(mut list: Vec<f64>, octaves_there: usize, octaves_wanted: usize) -> Vec<f64> {
    let law = law(|index| list[index]);
    for octave in &octaves()[octaves_there.min(octaves_wanted)..octaves_wanted] {
        for parity in [0, 1] {
            list.extend((0..NODES).map(|k| coefficient(&law, octave, parity, k)));
        }
    }
    list
}

/// The coefficient of φ that a power law gives at node k of an octave, times the root of the node's weight.
#[inline(always)]
pub(super) fn coefficient<R: Real>(
    law: &PowerLaw<R>,
    octave: &Octave,
    parity: usize,
    k: usize,
) -> R {
    let root = R::splat(octave.inverse_roots[parity][k]);
    kink_tail::coefficient(&law[parity], octave, parity, k) * root
}

/// Reads the power law at the head of a list.
#[inline(always)]
fn law<R>(list: impl Fn(usize) -> R) -> PowerLaw<R> {
    std::array::from_fn(|parity| std::array::from_fn(|j| list(parity * POWERS + j)))
}

/// The coefficients of a block of variables.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// The power laws, one block for each of their numbers.
    pub law: &'a [Block],
    /// The coefficients of orders below [`DIRECT`].
    pub direct: &'a [Block; DIRECT],
    /// The coefficients at the nodes of the octaves.
    octaves: &'a [Block],
}

impl<'a> Columns<'a> {
    pub fn new(features: &'a Features, block: usize) -> Self {
        let (law, rest) = features.0[NUMBERS + block].blocks().split_at(DIRECT_AT);
        let (direct, octaves) = rest.split_first_chunk().unwrap_or((&NOTHING, &[]));
        Self {
            law,
            direct,
            octaves,
        }
    }

    /// The coefficients at node k of octave `index`, or `None` if the block has fewer octaves.
    #[inline(always)]
    pub fn at(&self, index: usize, parity: usize, k: usize) -> Option<&'a Block> {
        self.octaves.get(place(index, parity, k))
    }
}

/// The position of the coefficient at node k of octave `index`, counted from the first octave.
#[inline(always)]
fn place(index: usize, parity: usize, k: usize) -> usize {
    2 * NODES * index + NODES * parity + k
}

/// The features of one variable u, read for all its pairs.
pub(super) struct Row {
    pub slope: f64,
    pub mean: f64,
    pub terms: f64,
    /// The number of octaves of this variable.
    pub last: f64,
    pub law: PowerLaw<f64>,
    pub direct: [f64; DIRECT],
    /// The coefficients at the nodes of the octaves. If u has a power law, they are extended to as many octaves as any
    /// of the columns has.
    pub octaves: Vec<[[f64; NODES]; 2]>,
}

impl Row {
    pub fn new(pairs: &Variables<'_>) -> Self {
        let (block, lane) = (pairs.row / WIDTH, pairs.row % WIDTH);
        let columns = Columns::new(pairs.rows, block);
        let (terms, last) = (pairs.u(TERMS), pairs.u(OCTAVES));
        let law = law(|index| columns.law[index][lane]);
        let all = pairs.v(OCTAVES).as_flattened().iter();
        let most = all.fold(last, |most, octaves| most.max(*octaves));
        let wanted = if terms.is_finite() { last } else { most };
        let own = |index: usize, parity: usize, k: usize| {
            if (index as f64) < last {
                columns.octaves[place(index, parity, k)][lane]
            } else {
                coefficient(&law, &octaves()[index], parity, k)
            }
        };
        let octave =
            |index: usize| [0, 1].map(|parity| std::array::from_fn(|k| own(index, parity, k)));
        Self {
            slope: pairs.u(SLOPE),
            mean: pairs.u(MEAN),
            terms,
            last,
            law,
            direct: columns.direct.map(|values| values[lane]),
            octaves: (0..wanted as usize).map(octave).collect(),
        }
    }
}

/// Placeholder for a feature that is not a list of coefficients. Every such list has those below [`DIRECT`].
static NOTHING: [Block; DIRECT] = [[0.0; WIDTH]; DIRECT];

/// A row and the blocks of its columns. Each comes K times: its values and, with derivatives, the slopes of these.
pub(super) struct SeriesBlock<'a, const K: usize> {
    pub(super) rows: [Row; K],
    pub(super) cols: [&'a Features; K],
    pub(super) blocks: Range<usize>,
    pub(super) octaves: &'a [Octave],
}

impl<'a, const K: usize> SeriesBlock<'a, K> {
    pub(super) fn new(variables: [&Variables<'a>; K]) -> Self {
        Self {
            rows: variables.map(Row::new),
            cols: variables.map(|variables| variables.cols),
            blocks: variables[0].blocks.clone(),
            octaves: octaves(),
        }
    }
}
