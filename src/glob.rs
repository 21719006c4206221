//! Shell patterns for names of files and tensors: `*` is any run of characters, `?` any one.

/// Whether `name` matches `pattern`. Linear in the product of their lengths, whatever the pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // After a mismatch the latest star swallows one character more; earlier stars never need to.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, swallowed)) => {
                    retry = Some((after_star, swallowed + 1));
                    p = after_star;
                    n = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("fineweb_train_*.bin", "fineweb_train_000000.bin", true),
            ("fineweb_train_*.bin", "fineweb_val_000000.bin", false),
            ("fineweb_train_*.bin", "fineweb_train_.bin", true),
            ("fineweb_train_*.bin", "fineweb_train_000000.bin.part", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaybab", true),
            ("*a*b", "xxayba", false),
            ("", "", true),
            ("", "a", false),
            ("**", "", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &"a".repeat(4000)));
    }
}
