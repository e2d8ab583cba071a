//! Memory for packed rows. Large blocks come straight from the system, on huge pages where available, and are reused.
//!
//! Fresh pages cost as much as the arithmetic on them. With huge pages there are 512 times fewer, and freed blocks are
//! kept for later calls, up to [`KEPT`] bytes in total.

#![allow(unsafe_code, reason = "mapped memory holds lines")]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Mutex;

use memmap2::MmapMut;

use crate::error::{Error, Result};
use crate::isa::Pod;

/// The size in bytes from which blocks are mapped. Smaller ones come from the allocator, which keeps their pages; it
/// would return larger ones to the system each time.
const MAPPED: usize = 1 << 16;

/// The number of bytes kept for later calls.
const KEPT: usize = 1 << 27;

/// Free blocks. The lock is only tried, never waited for: a process forked while it was held finds it locked forever,
/// and then does without kept blocks.
static FREE: Mutex<Vec<MmapMut>> = Mutex::new(Vec::new());

/// A slice of lines. Their initial values are arbitrary: zeros, or whatever an earlier call left.
#[derive(Debug)]
pub struct Storage<L> {
    block: Allocation<L>,
    len: usize,
}

#[derive(Debug)]
enum Allocation<L> {
    Heap(Vec<L>),
    /// `None` only during `drop`.
    Mapped(Option<MmapMut>, PhantomData<L>),
}

impl<L: Pod> Storage<L> {
    /// Allocates `len` lines of arbitrary values.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough.
    pub fn new(len: usize) -> Result<Self> {
        let bytes = len.saturating_mul(size_of::<L>());
        let error = || Error::Memory {
            bytes,
            purpose: "packed rows",
        };
        if bytes < MAPPED {
            let mut lines = Vec::new();
            lines.try_reserve_exact(len).map_err(|_| error())?;
            lines.resize(len, L::ZERO);
            return Ok(Self {
                block: Allocation::Heap(lines),
                len,
            });
        }
        let map = match reuse(bytes) {
            Some(map) => map,
            None => map(bytes).ok_or_else(error)?,
        };
        Ok(Self {
            block: Allocation::Mapped(Some(map), PhantomData),
            len,
        })
    }
}

/// Takes the smallest kept block that fits, unless it is more than twice the size.
fn reuse(bytes: usize) -> Option<MmapMut> {
    let mut free = FREE.try_lock().ok()?;
    let fits = |map: &MmapMut| map.len() >= bytes && map.len() / 2 <= bytes;
    let best = (0..free.len())
        .filter(|index| fits(&free[*index]))
        .min_by_key(|index| free[*index].len())?;
    Some(free.swap_remove(best))
}

/// Maps a new block.
fn map(bytes: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(bytes).ok()?;
    // If the system does not follow this advice, pages are merely smaller.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

impl<L> Drop for Storage<L> {
    fn drop(&mut self) {
        let Allocation::Mapped(map, _) = &mut self.block else {
            return;
        };
        let (Some(map), Ok(mut free)) = (map.take(), FREE.try_lock()) else {
            return;
        };
        let kept: usize = free.iter().map(|map| map.len()).sum();
        if kept + map.len() <= KEPT {
            free.push(map);
        }
    }
}

impl<L: Pod> Deref for Storage<L> {
    type Target = [L];

    #[inline]
    fn deref(&self) -> &[L] {
        match &self.block {
            Allocation::Heap(lines) => lines,
            // SAFETY: the map is at least `len` lines long, starts on a page, which every line's alignment divides, and
            // holds bytes that are values of a plain type, whatever they are.
            Allocation::Mapped(Some(map), _) => unsafe {
                slice::from_raw_parts(map.as_ptr().cast(), self.len)
            },
            Allocation::Mapped(None, _) => &[],
        }
    }
}

impl<L: Pod> DerefMut for Storage<L> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [L] {
        match &mut self.block {
            Allocation::Heap(lines) => lines,
            // SAFETY: as in `deref`; the map is borrowed exclusively.
            Allocation::Mapped(Some(map), _) => unsafe {
                slice::from_raw_parts_mut(map.as_mut_ptr().cast(), self.len)
            },
            Allocation::Mapped(None, _) => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Lanes;

    #[test]
    fn blocks_of_any_size_are_aligned_and_writable() {
        for len in [0, 1, 1000, MAPPED / 64, MAPPED / 64 + 1] {
            for value in [1.0, 2.0] {
                let mut lines = Storage::<Lanes<f64, 8>>::new(len).unwrap();
                assert_eq!(lines.len(), len);
                assert_eq!(lines.as_ptr().align_offset(64), 0);
                lines.iter_mut().for_each(|line| line.0 = [value; 8]);
                assert!(lines.iter().all(|line| line.0 == [value; 8]));
            }
        }
    }

    #[test]
    fn memory_beyond_the_systems_is_an_error() {
        assert!(matches!(
            Storage::<Lanes<f64, 8>>::new(usize::MAX / 64),
            Err(Error::Memory { .. })
        ));
    }
}
