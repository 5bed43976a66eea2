//! How many threads a machine's cores are worth.

/// As many as there are cores that this process may use, but for those that are less than half as fast as the fastest of them,
/// as on phones: all threads meet after each dispatch, and a slow core would be waited for. On Apple's systems, as many as are
/// of the fastest kind.
pub(super) fn threads() -> usize {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    fast().map_or(all, |fast| fast.clamp(1, all))
}

/// The fast ones, if the system tells.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn fast() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let capacity = |core: usize| {
        let text = std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{core}/cpu_capacity")).ok()?;
        text.trim().parse().ok()
    };
    fast_of(&allowed(&status).into_iter().filter_map(capacity).collect::<Vec<_>>())
}

/// The cores that a process may use, of what Linux says of it; no more than its masks hold.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn allowed(status: &str) -> Vec<usize> {
    const MOST: usize = 8192;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse::<usize>().ok()?.min(MOST))
    };
    list.split(',').filter_map(range).flatten().collect()
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
        assert_eq!(allowed("Name:\tx\nCpus_allowed_list:\t0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert!(allowed("Cpus_allowed_list:\tx,3-\n").is_empty());
        assert!(allowed("").is_empty());
        assert!((1..=std::thread::available_parallelism().unwrap().get()).contains(&threads()));
    }
}
