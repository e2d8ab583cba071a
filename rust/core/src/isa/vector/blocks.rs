//! Values stored in whole vectors.

use std::ops::Range;

use super::WIDTH;

/// The values of one vector.
pub type Block = [f64; WIDTH];

/// The blocks that hold a range of values. The range starts at a block.
pub fn blocks_of(range: &Range<usize>) -> Range<usize> {
    range.start / WIDTH..range.end.div_ceil(WIDTH)
}

/// Values in whole blocks. The last block is filled up with copies of the last value, which are safe to compute with.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    blocks: Vec<Block>,
    len: usize,
}

impl Blocks {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Value `index`.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn get(&self, index: usize) -> f64 {
        assert!(index < self.len);
        self.blocks[index / WIDTH][index % WIDTH]
    }

    /// The values of a range.
    ///
    /// # Panics
    /// If there are fewer values.
    pub fn of(&self, range: &Range<usize>) -> impl Iterator<Item = f64> {
        assert!(range.end <= self.len);
        self.blocks.as_flattened()[range.clone()].iter().copied()
    }

    /// The values, without the filling.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.blocks.as_flattened().iter().take(self.len).copied()
    }

    /// Joins lists, one after the other.
    ///
    /// # Panics
    /// If a list before the last one does not fill its blocks.
    pub fn join<'a>(lists: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for list in lists {
            assert_eq!(all.len % WIDTH, 0);
            all.blocks.extend_from_slice(&list.blocks);
            all.len += list.len;
        }
        all
    }

    /// All blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

impl FromIterator<f64> for Blocks {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut blocks = Self::default();
        for value in values {
            let lane = blocks.len % WIDTH;
            if lane == 0 {
                blocks.blocks.push([value; WIDTH]);
            } else if let Some(block) = blocks.blocks.last_mut() {
                block[lane..].fill(value);
            }
            blocks.len += 1;
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_the_last_fills_its_block() {
        for len in 0..20_u32 {
            let blocks: Blocks = (0..len).map(f64::from).collect();
            assert_eq!(blocks.len(), len as usize);
            assert_eq!(blocks.is_empty(), len == 0);
            assert_eq!(blocks.blocks().len(), blocks.len().div_ceil(WIDTH));
            assert!((0..len).all(|index| blocks.get(index as usize) == f64::from(index)));
            let filling = blocks.blocks().as_flattened()[blocks.len()..].iter();
            assert!(filling.copied().all(|value| value == f64::from(len - 1)));
            assert!(blocks.iter().eq((0..len).map(f64::from)));
        }
    }
}
