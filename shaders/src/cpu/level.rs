//! The instructions that the fast forms use.

/// Sets of instructions, each with those before it of its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of the target has; NEON on ARM.
    Portable,
    /// ARM's products of bytes in fours (`FEAT_DotProd`).
    DotProd,
    /// ARM's products of small matrices of bytes (`FEAT_I8MM`).
    I8mm,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI, and BMI2.
    Avx512,
    /// AMX with bf16.
    Amx,
}

/// A function that runs another, which is inlined, with the widest registers of a level, and tells it whether the level fuses
/// products with sums (`FMA`). It is not inlined itself: it would be compiled wherever it is called.
macro_rules! with_level {
    ($vis:vis $name:ident = $run:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)?) => {
        #[inline(never)]
        $vis fn $name(level: Level, $($arg: $ty),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $out)? {
                    $run::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $out)? {
                    $run::<true>($($arg),*)
                }
                if level >= Level::Avx512 {
                    // SAFETY: the level's instructions are there.
                    return unsafe { avx512($($arg),*) };
                }
                if level >= Level::Avx2 {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            let _ = level;
            $run::<{ $crate::math::FUSES }>($($arg),*)
        }
    };
}
pub(super) use with_level;

impl Level {
    /// Those that this machine has, the best one last.
    pub fn here() -> impl Iterator<Item = Self> {
        let all = [Self::Portable, Self::DotProd, Self::I8mm, Self::Avx2, Self::Avx512, Self::Amx];
        all.into_iter().filter(|level| level.is_here())
    }

    /// The best one that this machine has.
    pub fn best() -> Self {
        Self::here().last().unwrap_or(Self::Portable)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable if cfg!(target_arch = "aarch64") => "neon",
            Self::Portable => "portable",
            Self::DotProd => "dotprod",
            Self::I8mm => "i8mm",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// Whether this machine has it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_here(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::DotProd | Self::I8mm => false,
            Self::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
            Self::Avx512 => {
                let words = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                Self::Avx2.is_here() && words && has!("avx512vnni") && has!("bmi2")
            }
            Self::Amx => Self::Avx512.is_here() && has!("avx512vbmi") && amx::is_here(),
        }
    }

    /// Whether this machine has it.
    #[cfg(target_arch = "aarch64")]
    pub fn is_here(self) -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::DotProd => has!("dotprod"),
            Self::I8mm => Self::DotProd.is_here() && has!("i8mm"),
            Self::Avx2 | Self::Avx512 | Self::Amx => false,
        }
    }

    /// Whether this machine has it.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn is_here(self) -> bool {
        self == Self::Portable
    }
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::x86_64::{__cpuid_count, _xgetbv};
    use std::sync::OnceLock;

    /// Whether there are tiles of bf16 and bytes, and the system lets this process have them.
    pub(super) fn is_here() -> bool {
        static HERE: OnceLock<bool> = OnceLock::new();
        *HERE.get_or_init(|| {
            const BF16: u32 = 1 << 22;
            const TILE: u32 = 1 << 24;
            const INT8: u32 = 1 << 25;
            /// Configuration and data of tiles among the states that the system keeps.
            const STATES: u64 = 3 << 17;
            // SAFETY: every x86-64 has CPUID, and what has AVX has XGETBV.
            #[allow(unused_unsafe)]
            let (features, kept) = unsafe { (__cpuid_count(7, 0).edx, states()) };
            features & (BF16 | TILE | INT8) == BF16 | TILE | INT8 && kept & STATES == STATES && is_granted()
        })
    }

    #[target_feature(enable = "xsave")]
    fn states() -> u64 {
        // SAFETY: register 0 is always there.
        unsafe { _xgetbv(0) }
    }

    /// Linux keeps tiles only of processes that have asked for them.
    #[cfg(target_os = "linux")]
    fn is_granted() -> bool {
        const ARCH_PRCTL: u64 = 158;
        const REQUEST: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result: i64;
        // SAFETY: the call takes two numbers and touches no memory of ours.
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST,
                in("rsi") TILE_DATA,
                out("rcx") _,
                out("r11") _,
                options(nostack)
            );
        }
        result == 0
    }

    #[cfg(not(target_os = "linux"))]
    fn is_granted() -> bool {
        false
    }
}
