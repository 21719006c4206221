//! What this program needs to start inside of an image, whose C library may be older, or another.

use std::path::{Path, PathBuf};

/// Files of this program that an image need not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Libraries {
    /// The dynamic loader; none for a program that stands by itself.
    pub loader: Option<PathBuf>,
    /// Shared libraries, the loader left out.
    pub shared: Vec<PathBuf>,
}

impl Libraries {
    /// Those of this process.
    pub fn own() -> Self {
        Self::of_maps(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default())
    }

    /// Read from a listing of mapped files, as `/proc/PID/maps` has it.
    fn of_maps(maps: &str) -> Self {
        let mut libraries = Libraries::default();
        for path in maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..]))) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with("ld-") || name.starts_with("ld64") || name.starts_with("ld.so") {
                libraries.loader = Some(path.to_path_buf());
            } else if name.contains(".so") && !libraries.shared.iter().any(|known| known == path) {
                libraries.shared.push(path.to_path_buf());
            }
        }
        libraries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_and_libraries_are_told_apart() {
        let maps = "\
55d0-55d1 r--p 00000000 fe:00 12 /usr/bin/rerun
7f00-7f01 r--p 00000000 fe:00 13 /usr/lib/x86_64-linux-gnu/libc.so.6
7f01-7f02 r-xp 00001000 fe:00 13 /usr/lib/x86_64-linux-gnu/libc.so.6
7f03-7f04 r--p 00000000 fe:00 14 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7ffd-7ffe rw-p 00000000 00:00 0 [stack]
";
        let libraries = Libraries::of_maps(maps);
        assert_eq!(libraries.loader.as_deref(), Some(Path::new("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")));
        assert_eq!(libraries.shared, [Path::new("/usr/lib/x86_64-linux-gnu/libc.so.6")]);
        assert_eq!(Libraries::of_maps("55d0-55d1 r--p 00000000 fe:00 12 /usr/bin/rerun\n"), Libraries::default());
    }
}
