//! The floating-point environment of a thread. Another library may have switched subnormal numbers off.

#![allow(unsafe_code, reason = "the control register of the processor")]

use std::marker::PhantomData;

/// A guard: while it lives, this thread rounds to nearest, keeps subnormal numbers and traps nothing, as Rust assumes.
/// Dropping it restores the previous environment.
#[derive(Debug)]
pub struct DefaultFloatEnv {
    before: Control,
    /// The control register belongs to the thread, so the guard is neither `Send` nor `Sync`.
    thread: PhantomData<*const ()>,
}

impl DefaultFloatEnv {
    /// Switches to the default environment until the guard is dropped.
    #[must_use]
    pub fn enter() -> Self {
        let before = read();
        if before != DEFAULT {
            write(DEFAULT);
        }
        Self {
            before,
            thread: PhantomData,
        }
    }

    /// Switches to the default environment for the rest of the thread's life.
    pub fn set() {
        write(DEFAULT);
    }
}

impl Drop for DefaultFloatEnv {
    fn drop(&mut self) {
        if self.before != DEFAULT {
            write(self.before);
        }
    }
}

#[cfg(target_arch = "x86_64")]
type Control = u32;
#[cfg(not(target_arch = "x86_64"))]
type Control = u64;

/// The default of MXCSR: all exceptions masked, rounding to nearest, no flushing to zero.
#[cfg(target_arch = "x86_64")]
const DEFAULT: Control = 0x1F80;
#[cfg(not(target_arch = "x86_64"))]
const DEFAULT: Control = 0;

/// The control bits of MXCSR, without the status bits.
#[cfg(target_arch = "x86_64")]
const CONTROLS: Control = 0xFFC0;

#[cfg(target_arch = "x86_64")]
fn read() -> Control {
    let mut control: Control = 0;
    // SAFETY: stores MXCSR, which every x86-64 processor has, to a variable of its size.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags))
    };
    control & CONTROLS
}

#[cfg(target_arch = "x86_64")]
fn write(control: Control) {
    // SAFETY: loads MXCSR with a value read from it or its default, neither of which has a reserved bit.
    unsafe {
        std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags))
    };
}

#[cfg(target_arch = "aarch64")]
fn read() -> Control {
    let control: Control;
    // SAFETY: reads FPCR, which every AArch64 processor has.
    unsafe {
        std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags))
    };
    control
}

#[cfg(target_arch = "aarch64")]
fn write(control: Control) {
    // SAFETY: writes FPCR with a value read from it or its default.
    unsafe {
        std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags))
    };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn read() -> Control {
    DEFAULT
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn write(_control: Control) {}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    const FLUSH: Control = DEFAULT | 0x8040;

    #[test]
    fn subnormal_numbers_survive_another_librarys_mode() {
        let half = |x: f64| black_box(x) * 0.5;
        write(FLUSH);
        let flushed = half(f64::MIN_POSITIVE);
        let kept = {
            let _floats = DefaultFloatEnv::enter();
            half(f64::MIN_POSITIVE)
        };
        let again = read();
        write(DEFAULT);
        assert_eq!(flushed, 0.0);
        assert!(kept > 0.0);
        assert_eq!(again, FLUSH);
    }

    #[test]
    fn a_new_thread_can_leave_the_mode_of_its_parent() {
        // The product must not move beyond a change of the mode.
        let half = |x: f64| black_box(black_box(x) * 0.5);
        write(FLUSH);
        let child = std::thread::spawn(move || {
            let flushed = half(f64::MIN_POSITIVE);
            DefaultFloatEnv::set();
            (flushed, half(f64::MIN_POSITIVE))
        });
        write(DEFAULT);
        let (flushed, kept) = child.join().unwrap();
        assert_eq!(flushed, 0.0);
        assert!(kept > 0.0);
    }
}
