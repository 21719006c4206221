use super::*;

/// The table as the challenge's script has it.
const RIGHT: &str = "def build_luts(sp, size):
    base_bytes = np.zeros(size)
    has_leading_space = np.zeros(size)
    is_boundary_token = np.ones(size)
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        is_boundary_token[i] = False
        if sp.is_byte(i):
            base_bytes[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith('\u{2581}'):
            has_leading_space[i] = True
            piece = piece[1:]
        base_bytes[i] = len(piece.encode('utf-8'))
    return base_bytes, has_leading_space, is_boundary_token
def eval_val():
    token_bytes = base_bytes_lut[tgt]
    token_bytes += has_leading_space_lut[tgt] & ~is_boundary_token_lut[prev]
";

fn lines(text: &str) -> Vec<u64> {
    let python = Python::parse(text).unwrap();
    assert!(python.syntax_errors().is_empty(), "{text}");
    of(&python).into_iter().map(|(at, ..)| python.line(at)).collect()
}

#[test]
fn the_right_table_is_no_finding() {
    assert!(lines(RIGHT).is_empty());
    // Other uses of a tokenizer are no tables.
    assert!(lines("def show(sp, i):\n    return len(sp.id_to_piece(i).encode('utf-8'))\n").is_empty());
}

#[test]
fn each_fault_has_its_line() {
    let without = |part: &str, with: &str| {
        assert!(RIGHT.contains(part), "{part}");
        lines(&RIGHT.replace(part, with))
    };
    // The space is counted with the piece and once more in the sum.
    assert_eq!(without("            piece = piece[1:]\n", ""), [15]);
    assert_eq!(without("piece = piece[1:]", "piece = piece.replace('\u{2581}', ' ')"), [15]);
    // `<0xE2>` is six characters.
    assert_eq!(without("        if sp.is_byte(i):\n            base_bytes[i] = 1\n            continue\n", ""), [13]);
    assert_eq!(without("base_bytes[i] = 1", "base_bytes[i] = 3"), [10]);
    // `<s>` is no text.
    assert_eq!(
        without("        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):\n            continue\n", ""),
        [1]
    );
    // No boundary rule.
    assert_eq!(without(" & ~is_boundary_token_lut[prev]", ""), [20]);
}

/// Scripts between lines of dashes.
fn each(scripts: &str, right: bool) {
    for script in scripts.split("\n# ----\n") {
        let found = lines(script);
        assert_eq!(found.is_empty(), right, "{found:?} in\n{script}");
    }
}

#[test]
fn tables_of_other_styles_are_read() {
    each(include_str!("right.py"), true);
    each(include_str!("wrong.py"), false);
}
