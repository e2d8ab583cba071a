//! Matrices, tiles and threads, and the drivers that run any [`TileKernel`](tile::TileKernel): nothing here knows
//! what a tile stands for.

pub mod gram;
pub mod inner_product;
pub mod linear;
pub mod multiply;
pub mod panel;
pub mod pool;
pub mod scalar;
pub mod tile;
