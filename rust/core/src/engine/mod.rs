//! Matrices, tiles and threads, and the drivers that run any [`TileKernel`](tile::TileKernel). Nothing here knows the
//! meaning of a tile's values.
//!
//! [`scalar`] is the storage type, [`panel`] the packed format of rows, [`tile`] the unit of output, and [`pool`] the
//! threads. [`rows`] computes numbers of each row. Drivers: [`gram`] stores a kernel matrix, [`multiply`] multiplies it by
//! vectors, and [`inner_product`] contracts it with another matrix. [`linear`] is the simplest kernel, and [`stored`] one
//! whose matrix is in memory, or in a file in the format of [`packed_layout`].

pub mod gram;
pub mod inner_product;
pub mod linear;
pub mod multiply;
pub mod packed_layout;
pub mod panel;
pub mod pool;
pub mod rows;
pub mod scalar;
pub mod stored;
pub mod tile;
