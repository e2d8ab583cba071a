//! What pairs know of variables: their numbers, and their coefficients side by side.

use super::coefficients::{OCTAVES_AT, Variable, length};
use super::orders::{MOST_OCTAVES, NODES, octaves};
use super::tail::{Law, POWERS, coefficient};
use crate::double_double::DoubleDouble;
use crate::dual::{Features, Variables};
use crate::isa::{Block, Blocks, Vector, WIDTH};

/// Features that are one number for each variable. After them comes, for each block of variables, a feature with the
/// coefficients of these.
pub(super) const SCALE: usize = 0;
pub(super) const MEAN: usize = 1;
pub(super) const TERMS: usize = 2;
pub(super) const OCTAVES: usize = 3;
const NUMBERS: usize = 4;

/// The roots and the features of these variables.
pub(super) fn pack<'a>(
    variables: impl Iterator<Item = Variable<'a>>,
) -> (Vec<DoubleDouble>, Vec<Blocks>) {
    let (mut roots, mut numbers, mut lists) = (Vec::new(), vec![Vec::new(); NUMBERS], Vec::new());
    let mut eight = Vec::with_capacity(WIDTH);
    for variable in variables {
        roots.push(variable.root.into());
        let all = [
            variable.scale,
            variable.mean,
            variable.curve.terms,
            variable.curve.octaves as f64,
        ];
        for (list, number) in numbers.iter_mut().zip(all) {
            list.push(number);
        }
        eight.push(variable);
        if eight.len() == WIDTH {
            lists.push(side_by_side(&eight));
            eight.clear();
        }
    }
    if !eight.is_empty() {
        lists.push(side_by_side(&eight));
    }
    let numbers = numbers.into_iter().map(|list| list.into_iter().collect());
    (roots, numbers.chain(lists).collect())
}

/// Coefficient by coefficient, the last variable again where there are not eight.
fn side_by_side(variables: &[Variable<'_>]) -> Blocks {
    let all = variables.iter().map(|variable| variable.curve.octaves);
    let most = all.max().unwrap_or(0);
    let lists: [Vec<f64>; WIDTH] = std::array::from_fn(|lane| {
        let variable = &variables[lane.min(variables.len() - 1)];
        prolonged(variable.list().to_vec(), variable.curve.octaves, most)
    });
    let values = (0..length(most)).flat_map(|index| lists.each_ref().map(|list| list[index]));
    values.collect()
}

/// A list with more octaves, by its law.
fn prolonged(mut list: Vec<f64>, octaves_there: usize, octaves_wanted: usize) -> Vec<f64> {
    let law = law(|index| list[index]);
    for octave in &octaves()[octaves_there.min(octaves_wanted)..octaves_wanted] {
        for (parity, law) in law.iter().enumerate() {
            list.extend((0..NODES).map(|k| coefficient(law, octave, parity, k)));
        }
    }
    list
}

/// The law at the head of a list.
#[inline(always)]
fn law<R>(list: impl Fn(usize) -> R) -> Law<R> {
    std::array::from_fn(|parity| std::array::from_fn(|j| list(parity * POWERS + j)))
}

/// The coefficients of a block of variables.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    list: &'a [Block],
}

impl<'a> Columns<'a> {
    pub fn new(features: &'a Features, block: usize) -> Self {
        Self {
            list: features.0[NUMBERS + block].blocks(),
        }
    }

    /// Entry `index` of the lists.
    #[inline(always)]
    pub fn get<V: Vector>(&self, index: usize) -> V {
        V::load(&self.list[index])
    }

    #[inline(always)]
    pub fn law<V: Vector>(&self) -> Law<V> {
        law(|index| self.get(index))
    }

    /// A coefficient at a node of an octave: by the law, where the octaves end before.
    #[inline(always)]
    pub fn at<V: Vector>(&self, law: &Law<V>, octave: usize, parity: usize, k: usize) -> V {
        match self.list.get(place(octave, parity, k)) {
            Some(block) => V::load(block),
            None => coefficient(&law[parity], &octaves()[octave], parity, k),
        }
    }
}

/// Where a list has the coefficient at a node.
#[inline(always)]
pub(super) fn place(octave: usize, parity: usize, k: usize) -> usize {
    OCTAVES_AT + 2 * NODES * octave + NODES * parity + k
}

/// One variable.
pub(super) struct Row {
    pub scale: f64,
    pub mean: f64,
    pub terms: f64,
    pub octaves: f64,
    pub law: Law<f64>,
    /// With the octaves that any of the columns has, if there is a law.
    pub list: Vec<f64>,
}

impl Row {
    pub fn new(pairs: &Variables<'_>) -> Self {
        let (block, lane) = (pairs.row / WIDTH, pairs.row % WIDTH);
        let octaves = pairs.u(OCTAVES);
        let lists = Columns::new(pairs.rows, block).list;
        let own = lists[..length(octaves as usize)].iter();
        let list: Vec<f64> = own.map(|values| values[lane]).collect();
        let wanted = pairs.v(OCTAVES).as_flattened().iter();
        let wanted = wanted.fold(octaves, |most, octaves| most.max(*octaves));
        let terms = pairs.u(TERMS);
        let wanted = if terms.is_finite() { octaves } else { wanted };
        debug_assert!(wanted <= MOST_OCTAVES as f64);
        Self {
            scale: pairs.u(SCALE),
            mean: pairs.u(MEAN),
            terms,
            octaves,
            law: law(|index| list[index]),
            list: prolonged(list, octaves as usize, wanted as usize),
        }
    }
}
