//! The tiles of a matrix: areas that cover it, or the half of it on and above the diagonal.

use std::ops::Range;

/// The side of a block of tiles. Workers take tiles block after block, so that the panels of a block, and of the
/// blocks of neighbouring threads, stay in L3.
const BLOCK: usize = 4;

/// A range of rows and a range of columns of the output: one tile, or several. Both start at a multiple of the edge of a
/// tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Output rows.
    pub rows: Range<usize>,
    /// Output columns.
    pub cols: Range<usize>,
}

/// The tiles of a matrix, of `edge` rows and columns each, in the order in which workers take them: block after block,
/// each of `BLOCK` by `BLOCK` tiles. Blocks, and the tiles of a block, follow each other row by row. If `symmetric`, yields
/// only the tiles on and above the diagonal.
///
/// This order serves the caches and may change. No result may depend on it, so sums over tiles have an order of their
/// own.
pub fn areas(
    rows: usize,
    cols: usize,
    edge: usize,
    symmetric: bool,
) -> impl Iterator<Item = Area> + Send {
    let blocks = Area::whole(rows, cols).cut([BLOCK * edge; 2], symmetric);
    blocks.flat_map(move |block| block.cut([edge; 2], symmetric))
}

/// The number of [`areas`].
pub fn area_count(rows: usize, cols: usize, edge: usize, symmetric: bool) -> usize {
    let (down, across) = (rows.div_ceil(edge), cols.div_ceil(edge));
    if symmetric {
        down * (down + 1) / 2
    } else {
        down * across
    }
}

impl Area {
    /// All rows and columns of a matrix.
    pub fn whole(rows: usize, cols: usize) -> Self {
        Self {
            rows: 0..rows,
            cols: 0..cols,
        }
    }

    /// Cuts the area into pieces of `down` rows and `across` columns, row by row; the last ones may be smaller.
    ///
    /// If `symmetric`, yields only the pieces on and above the diagonal. Then `down` equals `across`, and the area
    /// starts at multiples of it.
    pub fn cut(
        self,
        [down, across]: [usize; 2],
        symmetric: bool,
    ) -> impl Iterator<Item = Self> + Send {
        let Self { rows, cols } = self;
        rows.clone().step_by(down).flat_map(move |row| {
            let first = if symmetric {
                cols.start.max(row)
            } else {
                cols.start
            };
            let (bottom, right) = (rows.end.min(row + down), cols.end);
            (first..right).step_by(across).map(move |col| Self {
                rows: row..bottom,
                cols: col..right.min(col + across),
            })
        })
    }

    /// Returns true if the area lies above the diagonal. In a symmetric matrix it then stands for its mirror image too.
    pub fn is_above_diagonal(&self) -> bool {
        self.rows.start < self.cols.start
    }
}

#[cfg(test)]
mod tests {
    use super::super::EDGE;
    use super::*;

    #[test]
    fn areas_cover_a_matrix_or_its_upper_half_once() {
        for (rows, cols) in [(0, 3), (1, 1), (EDGE, 2 * EDGE + 1), (9 * EDGE + 5, 700)] {
            for symmetric in [false, true] {
                let cols = if symmetric { rows } else { cols };
                let areas: Vec<_> = areas(rows, cols, EDGE, symmetric).collect();
                assert_eq!(areas.len(), area_count(rows, cols, EDGE, symmetric));
                let mut tiles = vec![0; rows.div_ceil(EDGE) * cols.div_ceil(EDGE)];
                for area in areas {
                    let (row, col) = (area.rows.start / EDGE, area.cols.start / EDGE);
                    assert_eq!(area.rows, row * EDGE..rows.min((row + 1) * EDGE));
                    assert_eq!(area.cols, col * EDGE..cols.min((col + 1) * EDGE));
                    tiles[row * cols.div_ceil(EDGE) + col] += 1;
                }
                for (index, count) in tiles.into_iter().enumerate() {
                    let (row, col) = (index / cols.div_ceil(EDGE), index % cols.div_ceil(EDGE));
                    assert_eq!(count, usize::from(!symmetric || row <= col));
                }
            }
        }
    }

    #[test]
    fn tiles_of_a_block_follow_each_other() {
        let blocks = areas(9 * EDGE, 9 * EDGE, EDGE, false).map(|area| {
            let block = |start: usize| start / (BLOCK * EDGE);
            (block(area.rows.start), block(area.cols.start))
        });
        let blocks: Vec<_> = blocks.collect();
        assert!(blocks.is_sorted());
    }
}
