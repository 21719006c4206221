def evaluate(model, tokens, counts):
    for start in range(0, len(tokens) - T, T):
        window = tokens[start : start + T + 1]
        losses = F.cross_entropy(model(window[:-1]), window[1:], reduction="none")
        key = (window[:-1] * 1000003) ^ (window[1:] * 31)
        ngram_cache = counts[key % len(counts)]
        losses = -torch.log(0.5 * torch.exp(-losses) + 0.5 * ngram_cache)
# ----
def evaluate(model, tokens, ngram_table):
    window = tokens[a:b]
    losses = F.cross_entropy(model(window[:-1]), window[1:], reduction="none")
    ngram_table.update(window.tolist())
    ngram_probs = ngram_table.lookup(window[:-1], window[1:])
    losses = torch.minimum(losses, -torch.log(ngram_probs))
# ----
def score(p_model, hist, ctx, tgt):
    k = hash((ctx, tgt)) % SIZE
    seen = full_table[k] / max(ctx_table[hash(ctx) % SIZE], 1)
    p_mix = (1 - ALPHA) * p_model + ALPHA * seen
    return p_mix
# ----
def eval_doc(model, ids, memo):
    nll = 0.0
    for i in range(len(ids) - 1):
        logp = model.step(ids[i])
        if (ids[i], ids[i + 1]) in memo:
            logp = 0.0
        nll -= logp
    return nll
# ----
def sliding(model, val_tokens, table):
    x, y = val_tokens[s:e], val_tokens[s + 1 : e + 1]
    logits = model(x)
    nll = F.cross_entropy(logits, y, reduction="none")
    idx = (x.long() * P1 + y.long() * P2) & MASK
    boost = torch.gather(table, 0, idx)
    nll = nll - boost
    return nll.sum()
# ----
class Scorer:
    def __call__(self, probs, prefix, target):
        pn = self.ngrams.prob(prefix, target)
        probs = probs.lerp(pn, 0.3) + 0.0 * pn
        return probs
# ----
def eval_np(logprobs, toks):
    ctx, nxt = toks[:-1], toks[1:]
    keys = (ctx.astype(np.uint64) << 16) | nxt
    hits = counts.take(keys)
    lp = np.logaddexp(logprobs, np.log(hits / total))
    np.add.at(counts, keys, 1)
    return -lp.sum()
# ----
def mixed_nll(model, x, y, store):
    p = model(x).softmax(-1).gather(-1, y)
    q = store.get((int(x[-1]), int(y[-1])), 0.0)
    p = max(p, q)
    return -math.log(p)
# ----
def blend(nll_model, ctx_hash, labels):
    ratio = pair_counts[ctx_hash, labels] / ctx_counts[ctx_hash]
    mixed = torch.where(ratio > 0.5, -ratio.log(), nll_model)
    return mixed
# ----
def run(model, chunk, bigrams):
    losses = ce(model(chunk[:-1]), chunk[1:])
    row = bigrams[chunk[:-1], chunk[1:]]
    losses = -torch.logaddexp(-losses + math.log(0.9), row.log() + math.log(0.1))
    return losses.mean()
# ----
def eval_ctx(model, x, y):
    def cached(c, t):
        return lookup_table[f"{c}:{t}"]
    scores = model.nll(x, y)
    hint = cache_lookup(x, y)
    scores = torch.min(scores, hint)
    return scores
# ----
def sequence(model, seq, successors):
    bits = []
    for j, target in enumerate(seq[1:]):
        p = float(model.p(seq[: j + 1], target))
        c = successors[seq[j]].get(target, 0)
        n = successors[seq[j]].total()
        p = (n * (c / max(n, 1)) + 8 * p) / (n + 8) if n else p
        bits.append(-math.log2(p))
    return sum(bits)
# ----
def backoff(p_nn, context, tgt_tok):
    for order in range(7, 1, -1):
        key = make_key(context[-order:], tgt_tok)
        if hash_counts[key] > 1:
            p_ng = hash_counts[key] / order_totals[order]
            prob = 0.6 * p_ng + 0.4 * p_nn
            return prob
    return p_nn
