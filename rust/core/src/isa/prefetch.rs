//! Hints to the caches.

#![cfg_attr(
    target_arch = "x86_64",
    allow(unsafe_code, reason = "the hint is an intrinsic")
)]

/// Asks for values that are read soon, where the processor's own prefetching does not see them coming.
#[inline(always)]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(64 / size_of::<T>().min(64)) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: fetching has no effect but on caches, whatever the address; newer compilers know.
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
