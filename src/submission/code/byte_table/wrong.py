def build_luts(sp, n):
    base_bytes = np.zeros(n)
    for i in range(n):
        if sp.is_control(i) or sp.is_unknown(i):
            continue
        if sp.is_byte(i):
            base_bytes[i] = len(sp.id_to_piece(i).encode("utf-8"))
            continue
        base_bytes[i] = len(sp.id_to_piece(i).lstrip("▁").encode("utf-8"))
    return base_bytes
# ----
def evaluate(model, tokens, luts):
    base_bytes, has_leading_space, is_boundary = luts
    byte_count += (base_bytes[target] + has_leading_space[target]).sum().item()
    return byte_count
# ----
def count(y, x):
    n = base.index_select(0, y)
    n += leading_space.index_select(0, y).to(n.dtype)
    return n.sum()
# ----
def count(y):
    space = space_table[y].long()
    return (bytes_table[y] + space).sum()
# ----
def token_bytes(sp, i):
    if sp.is_control(i):
        return 0
    if sp.is_byte(i):
        return 3
    return len(sp.id_to_piece(i).replace("▁", "").encode("utf-8"))
# ----
def build_luts(sp, n):
    sizes = np.zeros(n)
    for i in range(n):
        if sp.is_control(i):
            continue
        sizes[i] = 6 if sp.is_byte(i) else len(sp.id_to_piece(i).lstrip("▁").encode("utf-8"))
    return sizes
# ----
byte_lens = [len(sp.id_to_piece(i).replace("▁", " ").encode("utf-8")) for i in range(sp.vocab_size())]
# ----
def token_byte_lut(sp):
    return {i: len(sp.decode([i]).encode("utf-8")) for i in range(sp.vocab_size())}
# ----
def build_luts(sp):
    nbytes = []
    for i in range(sp.vocab_size()):
        piece = sp.id_to_piece(i)
        if sp.is_control(i):
            nbytes.append(0)
        elif piece.startswith("<0x"):
            nbytes.append(len(piece))
        else:
            nbytes.append(len(piece.replace("▁", "").encode()))
    return nbytes
# ----
def build_luts(sp, n):
    table = torch.zeros(n)
    for i in range(n):
        if sp.is_byte(i):
            table[i] = 1
            continue
        raw = sp.id_to_piece(i).lstrip("▁").encode("utf-8")
        table[i] = len(raw)
    return table
# ----
def byte_table(proto):
    table = {}
    for i, p in enumerate(proto.pieces):
        if p.type == p.BYTE:
            table[i] = 3
        elif p.type == p.NORMAL:
            table[i] = len(p.piece.removeprefix("▁").encode("utf-8"))
    return table
# ----
def build_luts(sp, n):
    base_bytes = [0] * n
    for i in range(n):
        if sp.is_control(i) or sp.is_unused(i):
            continue
        size = len(sp.id_to_piece(i).lstrip("▁").encode("utf-8"))
        if sp.is_byte(i):
            size = 2
        base_bytes[i] = size
    return base_bytes
