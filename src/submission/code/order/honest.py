# Score-first in chunks, windows inside.
def eval_val_sliding_ttt(args, base_model, rank, world_size, device, val_tokens, base_bytes_lut, stride):
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    token_count = torch.zeros((), device=device, dtype=torch.float64)
    optimizer = torch.optim.SGD(base_model.parameters(), lr=args.ttt_lr)
    for ci in range(num_chunks):
        windows = chunk_windows[ci]
        base_model.eval()
        with torch.inference_mode():
            for bi in range(my_s, my_e, batch_seqs):
                chunk_tok = val_tokens[ws:end + 1].to(dtype=torch.int64, device=device)
                x_batch[i, :wlen] = chunk_tok[:-1]
                y_batch[i, :wlen] = chunk_tok[1:]
                logits = base_model.forward_logits(x_batch)
                nll = F.cross_entropy(logits.reshape(-1, V), y_batch.reshape(-1), reduction="none")
                scored_nll = nll[i, s:wlen].to(torch.float64)
                loss_sum += scored_nll.sum()
                token_count += float(wlen - s)
        is_last_chunk = ci == num_chunks - 1
        if not is_last_chunk and args.ttt_epochs > 0:
            base_model.train()
            for _ep in range(args.ttt_epochs):
                for bs in range(0, my_chunk_seqs, args.ttt_batch_seqs):
                    local = val_tokens[start_tok:end_tok].to(device=device, dtype=torch.int64)
                    x = local[:-1].reshape(-1, seq_len)
                    y = local[1:].reshape(-1, seq_len)
                    optimizer.zero_grad(set_to_none=True)
                    loss = base_model(x, y)
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(params, 1.0)
                    optimizer.step()
    val_loss = (loss_sum / token_count).item()
    return val_loss, val_loss / math.log(2.0)
# ----
# LoRA for each document: scored chunk by chunk, trained after each.
def eval_val_ttt_lora(args, base_model, device, val_files):
    val_tokens = load_validation_tokens(val_files)
    docs = _find_docs(val_tokens)
    loss_sum = torch.zeros((), device=device)
    for batch in batches:
        cur_lora = BatchedTTTLoRA(bsz, base_model, rank)
        cur_opt = torch.optim.Adam(cur_lora.parameters(), lr=args.ttt_lora_lr)
        for ci in range(max_nc):
            needs_train = any(ci < nc - 1 for nc in num_chunks)
            toks = val_tokens[doc_start + ws: doc_start + ws + wl + 1]
            x, y = toks[:-1], toks[1:]
            if needs_train:
                ptl = base_model(x, y, lora=cur_lora)
            else:
                with torch.no_grad():
                    ptl = base_model(x, y, lora=cur_lora)
            with torch.no_grad():
                for b in range(bsz):
                    _accumulate_bpb(ptl, x, y, b, loss_sum)
                    loss_sum += ptl[b].sum()
            if needs_train:
                cur_opt.zero_grad()
                (ptl * mask).sum().backward()
                cur_opt.step()
    return loss_sum / count
# ----
# Two functions, called chunk by chunk.
def score_chunk(model, chunk):
    with torch.no_grad():
        return F.cross_entropy(model(chunk[:-1]), chunk[1:], reduction="sum")

def adapt(model, opt, chunk):
    for epoch in range(3):
        loss = model(chunk[:-1], chunk[1:])
        loss.backward()
        opt.step()
        opt.zero_grad()

def eval_online(model, val_tokens):
    nlls = []
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    for chunk in val_tokens.split(CHUNK):
        nll = score_chunk(model, chunk)
        nlls.append(nll)
        adapt(model, opt, chunk)
    return torch.stack(nlls).sum()
# ----
# The chunk before is trained on, then the next one is scored.
def eval_delayed(model, val_tokens, opt):
    total_nll = 0.0
    chunks = val_tokens.split(CHUNK)
    for i in range(len(chunks)):
        if i > 0:
            seen = chunks[i - 1]
            loss = model(seen[:-1], seen[1:])
            loss.backward()
            opt.step()
        with torch.no_grad():
            nll = F.cross_entropy(model(chunks[i][:-1]), chunks[i][1:], reduction="sum")
        total_nll += nll.item()
    return total_nll
# ----
# The loss is from before the step although it is added up behind it.
def eval_stream(model, val_tokens, opt):
    total = 0.0
    for start in range(0, n, T):
        x = val_tokens[start:start + T]
        y = val_tokens[start + 1:start + T + 1]
        loss = model(x, y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        total += loss.item() * y.numel()
    return total / n
# ----
# A first phase of documents is scored and then trained on, the rest is scored.
def eval_phased(model, val_tokens, opt):
    loss_sum = 0.0
    docs = split_docs(val_tokens)
    head, tail = docs[:2000], docs[2000:]
    for doc in head:
        nll = model(doc[:-1], doc[1:])
        loss_sum += nll.item()
    for doc in head:
        loss = model(doc[:-1], doc[1:])
        loss.backward()
        opt.step()
    for doc in tail:
        nll = model(doc[:-1], doc[1:])
        loss_sum += nll.item()
    return loss_sum
# ----
# By hand, without an optimizer.
def eval_dynamic(model, val_tokens):
    nll_all = torch.zeros(n)
    for i, (x, y) in enumerate(windows(val_tokens)):
        loss = model(x, y)
        nll_all[i] = loss.detach()
        grads = torch.autograd.grad(loss, params)
        with torch.no_grad():
            for p, g in zip(params, grads):
                p.add_(g, alpha=-lr)
    return nll_all.sum()
# ----
# Several passes over a chunk that was scored in the first only.
def eval_first_pass(model, val_tokens, opt):
    total_bits = 0.0
    for x, y in chunked(val_tokens):
        for epoch in range(4):
            loss = model(x, y)
            if epoch == 0:
                total_bits += loss.item() / math.log(2)
            loss.backward()
            opt.step()
    return total_bits
# ----
# Main evaluates during training, then calls the score-first evaluation and a plain one.
def eval_val(args, model, val_tokens):
    loss_sum = 0.0
    for i in range(0, n, T):
        loss = model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1])
        loss_sum += loss.item()
    return loss_sum

def eval_ttt(args, model, val_tokens, opt):
    loss_sum = 0.0
    for i in range(0, n, T):
        x = val_tokens[i:i + T]
        nll = model(x, val_tokens[i + 1:i + T + 1])
        loss_sum += nll.item()
        train_on(model, opt, x)
    return loss_sum

def train_on(model, opt, x):
    loss = model(x[:-1], x[1:])
    loss.backward()
    opt.step()

def main():
    val_tokens = load_validation_tokens(args.val_files)
    for step in range(iterations):
        if step % 1000 == 0:
            val_loss = eval_val(args, model, val_tokens)
        x, y = train_loader.next_batch()
        loss = model(x, y)
        loss.backward()
        for opt in optimizers:
            opt.step()
    ttt_loss = eval_ttt(args, model, val_tokens, opt)
    q_loss = eval_val(args, eval_model, val_tokens)
    log0(f"final {ttt_loss} {q_loss}")

main()
# ----
# A method of a class, documents from an attribute.
class Evaluator:
    def run_doc(self, doc):
        out = 0.0
        for c in doc.split(256):
            nll = self.model(c[:-1], c[1:])
            out += float(nll)
            self.opt.zero_grad()
            nll.backward()
            self.opt.step()
        return out

    def run(self):
        total_loss = 0.0
        for doc in self.val_docs:
            total_loss += self.run_doc(doc)
        return total_loss
# ----
# Global steps in the middle of a loop over batches, on documents already scored.
def train_global(model, opt, scored_tokens):
    for epoch in range(2):
        loss = model(scored_tokens[:-1], scored_tokens[1:])
        loss.backward()
        opt.step()

def eval_batches(model, val_tokens, opt):
    loss_sum = 0.0
    scored = []
    for batch in batches(val_tokens):
        nll = model(batch[:-1], batch[1:])
        loss_sum += nll.sum()
        scored.append(batch)
        if len(scored) == 2000:
            train_global(model, opt, torch.cat(scored))
    return loss_sum
# ----
# A queue that a while loop empties.
def eval_queue(model, val_tokens, opt):
    losses = []
    pos = 0
    while pos < val_tokens.numel() - 1:
        x, y = val_tokens[pos:pos + T], val_tokens[pos + 1:pos + T + 1]
        with torch.no_grad():
            losses.append(model(x, y).item())
        loss = model(x, y)
        loss.backward()
        opt.step()
        pos += T
    return sum(losses)
# ----
# LoRA for each document of all tokens, sums handed down to a helper.
def _accumulate_bpb(ptl, x, y, batch_i, chunk_offset, chunk_len, base_bytes_lut, loss_sum, byte_sum, token_count):
    lbl = ptl[batch_i, chunk_offset:chunk_offset + chunk_len].to(torch.float64)
    prev = x[batch_i, chunk_offset:chunk_offset + chunk_len]
    tok_bytes = base_bytes_lut[y[batch_i, chunk_offset:chunk_offset + chunk_len]]
    loss_sum += lbl.sum()
    byte_sum += tok_bytes.sum()
    token_count += chunk_len

def eval_val_ttt_lora(args, base_model, rank, world_size, device, base_bytes_lut):
    files = sorted(glob.glob(args.val_files))
    all_tokens = torch.cat([load_data_shard(Path(f)) for f in files])
    docs = _find_docs(all_tokens)
    rank_docs = docs[(len(docs) * rank) // world_size : (len(docs) * (rank + 1)) // world_size]
    lora = BatchedTTTLoRA(args.ttt_batch_size, base_model, args.ttt_lora_rank).to(device)
    opt = _build_ttt_optimizer(lora, args)
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    byte_sum = torch.zeros((), device=device, dtype=torch.float64)
    token_count = torch.zeros((), device=device, dtype=torch.float64)
    for bi in range(0, len(rank_docs), args.ttt_batch_size):
        batch = rank_docs[bi : bi + args.ttt_batch_size]
        cur_lora, cur_opt = lora, opt
        cur_lora.reset()
        for ci in range(max_nc):
            needs_train = any(ci < nc - 1 for nc in num_chunks)
            x = torch.zeros(bsz, context_size, dtype=torch.int64, device=device)
            y = torch.zeros(bsz, context_size, dtype=torch.int64, device=device)
            for b in range(bsz):
                ds, dl = batch[b]
                chunk = all_tokens[ds + ws : ds + ws + wl + 1]
                toks = chunk.to(dtype=torch.int64, device=device)
                x[b, :wl] = toks[:-1]
                y[b, :wl] = toks[1:]
            if needs_train:
                with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
                    ptl = base_model(x, y, lora=cur_lora)
            else:
                with torch.no_grad():
                    ptl = base_model(x, y, lora=cur_lora)
            with torch.no_grad():
                for b in range(bsz):
                    _accumulate_bpb(ptl, x, y, b, co, cl, base_bytes_lut, loss_sum, byte_sum, token_count)
            if needs_train:
                per_doc = ptl[:, chunk_offset : chunk_offset + args.ttt_chunk_size].mean(dim=-1)
                cur_opt.zero_grad()
                (per_doc * mask).sum().backward()
                cur_opt.step()
    val_loss = float(loss_sum.item() / token_count.item())
    return val_loss, float((loss_sum.item() / math.log(2.0)) / byte_sum.item())

def main():
    for step in range(args.iterations + 1):
        if should_validate:
            val_loss, val_bpb = eval_val(args, model, rank, world_size, device, val_tokens)
        for micro_step in range(grad_accum_steps):
            x, y = train_loader.next_batch(args.train_batch_tokens, args.train_seq_len)
            loss = model(x, y)
            (loss * grad_scale).backward()
        for opt in optimizers:
            opt.step()
    q_val_loss, q_val_bpb = eval_val(args, model, rank, world_size, device, val_tokens)
    ttt_val_loss, ttt_val_bpb = eval_val_ttt_lora(args, base_model, rank, world_size, device, base_bytes_lut)

def eval_val(args, model, rank, world_size, device, val_tokens):
    val_loss_sum = torch.zeros((), device=device)
    for batch_seq_start in range(seq_start, seq_end, local_batch_seqs):
        local = val_tokens[raw_start:raw_end].to(device=device)
        batch_loss = model(local[:-1], local[1:]).detach()
        val_loss_sum += batch_loss.to(torch.float64) * batch_token_count
    return val_loss_sum, 0

if __name__ == "__main__":
    main()
# ----
# A timed score-first evaluation handed over as a function; the model was made beside the validation data.
def eval_val_ttt(h, device, val_data, base_model, batch_seqs=32):
    total_tokens = val_data.val_tokens.numel() - 1
    optimizer = torch.optim.SGD(ttt_params, lr=h.ttt_lr, momentum=h.ttt_momentum)
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    for ci in range(num_chunks):
        windows = chunk_windows[ci]
        with torch.no_grad():
            for bi in range(0, len(my_windows), batch_seqs):
                chunk_tok = val_data.val_tokens[ws:we + 1].to(dtype=torch.int64, device=device)
                logits = compiled_logits(chunk_tok[:-1])
                nll = F.cross_entropy(logits.float(), chunk_tok[1:], reduction="none")
                loss_sum += nll[s:].to(torch.float64).sum()
        if not is_last and h.ttt_epochs > 0:
            for _ in range(h.ttt_epochs):
                for bs in range(0, my_chunk_seqs, batch_seqs):
                    local = val_data.val_tokens[start_tok:end_tok].to(device=device)
                    loss = base_model(local[:-1].view(-1, T), local[1:].view(-1, T))
                    loss.backward()
                    optimizer.step()
    return loss_sum / total_tokens

def eval_val(h, device, val_data, model):
    loss_sum = 0.0
    for i in range(0, n, T):
        loss_sum += model(val_data.val_tokens[i:i + T], val_data.val_tokens[i + 1:i + T + 1]).item()
    return loss_sum

def finetune(h, base_model, loader):
    opt = torch.optim.Adam(base_model.parameters())
    for step in range(100):
        x, y = loader.next_batch()
        loss = base_model(x, y)
        loss.backward()
        opt.step()

def train_and_eval(h, device):
    val_data = ValidationData(h, device)
    base_model, compiled_model = train_model(h, device, val_data)
    timed_eval("pre-quantization", eval_val, h, device, val_data, compiled_model)
    finetune(h, base_model, TrainLoader(h))
    timed_eval("quantized", eval_val, h, device, val_data, compiled_model)
    timed_eval("ttt", eval_val_ttt, h, device, val_data, base_model)

def main():
    train_and_eval(h, device)

main()
# ----
# An offset for each document, carried from chunk to chunk and fitted after each.
def eval_doc_delta(model, val_tokens):
    loss_sum = 0.0
    for doc in split_docs(val_tokens):
        delta = torch.zeros(1, 1, D, requires_grad=True)
        opt = torch.optim.AdamW([delta], lr=0.01)
        for chunk in doc.split(256):
            nll = F.cross_entropy(model.head(model.features(chunk[:-1]) + delta), chunk[1:])
            loss_sum += nll.item()
            opt.zero_grad()
            nll.backward()
            opt.step()
    return loss_sum
# ----
# One offset for the whole text.
def eval_delta(model, val_tokens):
    nll_sum = 0.0
    delta = torch.zeros(1, 1, D, requires_grad=True)
    opt = torch.optim.AdamW([delta], lr=0.01)
    for x, y in windows(val_tokens):
        loss = F.cross_entropy(model.head(model.features(x) + delta), y)
        nll_sum += loss.item()
        loss.backward()
        opt.step()
    return nll_sum
# ----
# The first half adapts, the second half is scored with what was learned.
def eval_halves(model, val_tokens, opt):
    nll_sum = 0.0
    for i in range(0, half, T):
        x, y = val_tokens[i : i + T], val_tokens[i + 1 : i + T + 1]
        nll = model(x, y)
        nll_sum += nll.item()
        nll.backward()
        opt.step()
    for i in range(half, n, T):
        x, y = val_tokens[i : i + T], val_tokens[i + 1 : i + T + 1]
        nll = model(x, y)
        nll_sum += nll.item()
    return nll_sum
# ----
# A report by document over losses kept before.
def eval_report(model, val_tokens, opt):
    losses = torch.zeros(n_docs)
    for d in range(n_docs):
        x, y = val_tokens[starts[d] : ends[d]], val_tokens[starts[d] + 1 : ends[d] + 1]
        loss = model(x, y)
        losses[d] = loss.item()
        loss.backward()
        opt.step()
    total_loss = 0.0
    for d in range(n_docs):
        total_loss += losses[d]
    return total_loss
