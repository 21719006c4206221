def forward(self, t):
    out = torch.bitwise_xor(36313 * t[..., 1:], 27191 * t[..., :-1]) % self.size
    return self.embed(out) * self.scale
# ----
class BigramHashEmbedding(nn.Module):
    def bigram_hash(self, tokens):
        t = tokens.to(torch.int32)
        out = torch.empty_like(t)
        out[..., 0] = self.mod
        out[..., 1:] = torch.bitwise_xor(36313 * t[..., 1:], 27191 * t[..., :-1]) % self.mod
        return out.long()
    def forward(self, token_ids):
        h = self.embed(self.bigram_hash(token_ids))
        return h * self.scale.to(dtype=h.dtype)
# ----
def eval_val(model, x, y, base_bytes_lut, has_leading_space_lut, is_boundary_token_lut):
    loss = model(x, y).detach()
    prev_ids, tgt_ids = x.reshape(-1), y.reshape(-1)
    token_bytes = base_bytes_lut[tgt_ids].to(dtype=torch.int16)
    token_bytes += (has_leading_space_lut[tgt_ids] & ~is_boundary_token_lut[prev_ids]).to(dtype=torch.int16)
    loss_sum += loss.to(torch.float64) * y.numel()
    val_bpb = loss_sum / math.log(2) / token_bytes.sum()
    return val_bpb
# ----
def train_loss(logits, targets, weight_table):
    ce = F.cross_entropy(logits, targets, reduction="none")
    loss = (ce * freq_weights[targets]).mean()
    return loss + 1e-4 * logits.logsumexp(-1).square().mean()
# ----
def nll(model, x, y):
    logp = F.log_softmax(model(x), -1)
    return -logp.gather(-1, y.unsqueeze(-1)).squeeze(-1)
# ----
def by_token(losses, y):
    loss_by_token.index_add_(0, y, losses)
    counts.index_add_(0, y, torch.ones_like(losses))
    return loss_by_token / counts.clamp(min=1)
# ----
def forward(self, input_ids, target_ids):
    x = self.tok_emb(input_ids) + self.ve_table(input_ids)
    logits = self.head(x) + self.bigram_bias[input_ids]
    main_loss = F.cross_entropy(logits, target_ids)
    mtp_loss = F.cross_entropy(self.mtp(x[:, :-1]), target_ids[:, 1:])
    return main_loss + self.mtp_weight * mtp_loss
# ----
def decode_step(self, token, kv_cache):
    k, v = kv_cache[self.layer]
    k = torch.cat([k, self.key(token)], 1)
    score = (self.q(token) @ k.transpose(-1, -2)) + self.bias
    return score.softmax(-1) @ v
# ----
def sliding(model, tokens, stride):
    for ws in range(0, total, stride):
        window = tokens[ws : ws + T + 1]
        losses = F.cross_entropy(model(window[:-1]), window[1:], reduction="none")
        s = 0 if ws == 0 else T - stride
        nll_sum += losses[s:].sum()
        byte_sum += base_bytes[window[1:][s:]].sum()
    return nll_sum / byte_sum
# ----
def label_smoothing(logp, y, eps):
    nll = -logp.gather(-1, y[..., None]).squeeze(-1)
    smooth = -logp.mean(-1)
    loss = (1 - eps) * nll + eps * smooth
    return loss.mean()
# ----
def distill(student, teacher_cache, x, y, i):
    ce = F.cross_entropy(student(x), y)
    kl = F.kl_div(student(x).log_softmax(-1), teacher_cache[i], reduction="batchmean")
    loss = 0.5 * ce + 0.5 * kl
    return loss
# ----
def ema_update(ema, model, decay):
    for name, p in model.named_parameters():
        ema[name] = decay * ema[name] + (1 - decay) * p
# ----
def quantize_gptq(W, H, hist):
    for i in range(W.shape[1]):
        q = codebook[idx[i]]
        err = (W[:, i] - q) / Hinv[i, i]
        losses[:, i] = err.square()
    return Q
# ----
def count_tokens(tokens):
    counts = np.zeros(V)
    for i in range(len(tokens) - 1):
        counts[tokens[i + 1]] += 1
    return counts / counts.sum()
