//! How many threads a machine's cores are worth.

/// As many as there are cores that this process may use, but for those that are less than half as fast as the fastest, as on
/// phones: all threads meet after each dispatch, and a slow core would be waited for.
pub(super) fn threads() -> usize {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    fast().map_or(all, |fast| fast.clamp(1, all))
}

/// The fast ones, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn fast() -> Option<usize> {
    let capacity = |core: usize| {
        let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{core}/cpu_capacity")).ok()?;
        text.trim().parse().ok()
    };
    fast_of(&(0..).map_while(capacity).collect::<Vec<_>>())
}

/// The fast ones, if the system tells.
#[cfg(target_vendor = "apple")]
fn fast() -> Option<usize> {
    let (mut cores, mut size) = (0 as libc::c_int, size_of::<libc::c_int>());
    // SAFETY: the name ends with a zero, and what is written fits into an integer of that size.
    let failed = unsafe {
        let to = (&raw mut cores).cast();
        libc::sysctlbyname(c"hw.perflevel0.logicalcpu".as_ptr(), to, &raw mut size, std::ptr::null_mut(), 0)
    };
    if failed == 0 { usize::try_from(cores).ok() } else { None }
}

/// The fast ones, if the system tells.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn fast() -> Option<usize> {
    None
}

/// How many have at least half of the largest capacity; `None` where none is known.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn fast_of(capacities: &[u32]) -> Option<usize> {
    let largest = capacities.iter().max()?;
    Some(capacities.iter().filter(|c| **c >= largest.div_ceil(2)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_cores_are_left_out() {
        assert_eq!(fast_of(&[]), None);
        assert_eq!(fast_of(&[1024; 8]), Some(8));
        // A phone's: four small cores, three large ones, the largest one.
        assert_eq!(fast_of(&[325, 325, 325, 325, 850, 850, 850, 1024]), Some(4));
        assert_eq!(fast_of(&[1024, 512, 511]), Some(2));
        assert!((1..=std::thread::available_parallelism().unwrap().get()).contains(&threads()));
    }
}
