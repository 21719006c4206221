//! What the kernel has to confine a process with, told without confining one.

/// Whether the kernel has Landlock.
#[cfg(target_os = "linux")]
pub fn has_landlock() -> bool {
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};

    // Rules that are never put in force change nothing.
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// Whether the kernel has filters of system calls.
#[cfg(target_os = "linux")]
pub fn has_seccomp() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.lines().any(|line| line.starts_with("Seccomp:")))
}

/// Linux only.
#[cfg(not(target_os = "linux"))]
pub fn has_landlock() -> bool {
    false
}

/// Linux only.
#[cfg(not(target_os = "linux"))]
pub fn has_seccomp() -> bool {
    false
}
