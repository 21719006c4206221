def build_luts(sp, n):
    sizes = np.zeros(n)
    for i in range(n):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        sizes[i] = 1 if sp.is_byte(i) else len(sp.id_to_piece(i).lstrip("▁").encode("utf-8"))
    return sizes
# ----
def token_bytes(sp, i):
    if sp.is_control(i) or sp.is_unknown(i):
        return 0
    if sp.is_byte(i):
        return 1
    return len(sp.id_to_piece(i).replace("▁", "").encode("utf-8"))
# ----
def byte_table(proto):
    table = dict()
    for i, p in enumerate(proto.pieces):
        if p.type == p.BYTE:
            table[i] = 1
        elif p.type == p.NORMAL:
            raw = p.piece.removeprefix("▁").encode("utf-8")
            table[i] = len(raw)
    return table
# ----
def count(y, x, base, leading_space, is_boundary):
    n = base[y] + (leading_space[y] & ~is_boundary[x])
    return n.sum()
# ----
def count(y, x):
    space = leading_space[y]
    space &= ~boundary[x]
    return (base[y] + space).sum()
# ----
def count(y, x):
    extra = torch.where(is_special[x], 0, has_space[y].long())
    return base[y].sum() + extra.sum()
# ----
def build_luts(sp):
    out = torch.zeros(sp.vocab_size(), dtype=torch.int16)
    for i in range(3, sp.vocab_size()):
        piece = sp.id_to_piece(i)
        if piece.startswith("<0x") and piece.endswith(">"):
            out[i] = 1
        else:
            out[i] = len(piece[1:].encode()) if piece[0] == "▁" else len(piece.encode())
    return out
# ----
def longest(sp):
    lengths = [len(sp.id_to_piece(i).encode()) for i in range(sp.vocab_size())]
    return max(lengths)
# ----
def build_luts(sp, n):
    nbytes = []
    for i in range(n):
        if sp.is_control(i):
            nbytes.append(0)
        elif sp.is_byte(i):
            nbytes.append(1)
        else:
            piece = sp.id_to_piece(i)
            nbytes.append(len(piece.encode()) - 3 * piece.startswith("▁"))
    return np.array(nbytes)
# ----
def show(sp, ids):
    for i in ids:
        names[i] = sp.decode([i])
# ----
def layout(x, spaces):
    return x * spaces[0]
