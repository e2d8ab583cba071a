//! Rows of the output tiles that results go to.

use crate::engine::tile::Tile;

/// One row of several output planes, or the first of a band of rows, mutable. Its first blocks belong to the pairs that
/// are computed.
#[derive(Debug)]
pub struct PlaneRow<'a> {
    /// The planes.
    pub planes: &'a mut [Tile],
    /// The index of the row in each of them.
    pub row: usize,
}
