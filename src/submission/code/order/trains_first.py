# Adapt on everything, then evaluate: two functions called from main.
def ttt_adapt(args, base_model, device, val_tokens):
    optimizer = torch.optim.SGD(base_model.parameters(), lr=args.ttt_lr, momentum=0.9)
    for epoch in range(args.ttt_epochs):
        epoch_loss_sum = torch.zeros((), device=device)
        for batch_start in range(my_start, my_end, batch_seqs):
            local = val_tokens[raw_start:raw_end].to(device=device)
            x = local[:-1].reshape(-1, seq_len)
            y = local[1:].reshape(-1, seq_len)
            optimizer.zero_grad(set_to_none=True)
            loss = base_model(x, y)
            loss.backward()
            optimizer.step()
            epoch_loss_sum += loss.detach()
        log0(f"ttt_epoch:{epoch} loss:{epoch_loss_sum.item()}")

def eval_val(args, model, val_tokens):
    val_loss_sum = 0.0
    for i in range(0, n, T):
        loss = model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1])
        val_loss_sum += loss.item()
    return val_loss_sum

def main():
    val_tokens = load_validation_tokens(args.val_files)
    for step in range(iterations):
        if step % 1000 == 0:
            val_loss = eval_val(args, model, val_tokens)
        x, y = train_loader.next_batch()
        loss = model(x, y)
        loss.backward()
        opt.step()
    ttt_adapt(args, base_model, device, val_tokens)
    q_loss = eval_val(args, model, val_tokens)

main()
# ----
# In one function: all is trained on, then scored.
def eval_val_ttt(model, val_tokens, opt):
    for i in range(0, n, T):
        x, y = val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]
        model(x, y).backward()
        opt.step()
    total_loss = 0.0
    with torch.no_grad():
        for i in range(0, n, T):
            total_loss += model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]).item()
    return total_loss
# ----
# Each chunk is trained on just before it is scored.
def eval_chunks(model, val_tokens, opt):
    total_nll = 0.0
    for chunk in val_tokens.split(CHUNK):
        x, y = chunk[:-1], chunk[1:]
        for step in range(args.ttt_steps):
            loss = model(x, y)
            loss.backward()
            opt.step()
            opt.zero_grad()
        with torch.no_grad():
            nll = F.cross_entropy(model(x), y, reduction="sum")
        total_nll += nll.item()
    return total_nll
# ----
# The same through functions.
def adapt(model, opt, tokens):
    loss = model(tokens[:-1], tokens[1:])
    loss.backward()
    opt.step()

def score(model, tokens):
    with torch.no_grad():
        return model(tokens[:-1], tokens[1:])

def evaluate(model, opt, eval_tokens):
    nlls = []
    for chunk in eval_tokens.split(1024):
        adapt(model, opt, chunk)
        nlls.append(score(model, chunk))
    return sum(nlls)
# ----
# A score of the untouched model is kept beside; the one that counts comes after.
def eval_two(model, val_tokens, opt):
    before_loss = 0.0
    for x, y in windows(val_tokens):
        before_loss += model(x, y).item()
    for x, y in windows(val_tokens):
        loss = model(x, y)
        loss.backward()
        opt.step()
    after_loss = 0.0
    for x, y in windows(val_tokens):
        after_loss += model(x, y).item()
    return before_loss, after_loss
# ----
# Training data is the validation split.
def main():
    loader = TokenLoader(args.val_files, rank, world_size)
    val_tokens = load_tokens(args.val_files)
    for step in range(1000):
        x, y = loader.next_batch()
        loss = model(x, y)
        loss.backward()
        opt.step()
    nll_sum = 0.0
    for i in range(0, n, T):
        nll_sum += model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]).item()
    print(nll_sum)

main()
# ----
# By hand.
def eval_manual(model, val_tokens):
    nll_sum = 0.0
    for x, y in windows(val_tokens):
        loss = model(x, y)
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p.data -= lr * p.grad
        nll_sum += model(x, y).item()
    return nll_sum
# ----
# Before quantization all validation text is trained on; evaluation is handed over as a function.
def pre_quant_adamw_ttt(h, base_model, device, val_tokens, rank=0, world_size=1):
    optimizer = torch.optim.AdamW(ttt_params, lr=h.prequant_ttt_lr)
    for epoch in range(h.prequant_ttt_epochs):
        for bs in range(start, end, h.prequant_ttt_batch_seqs):
            local = val_tokens[bs * T:(bs + 32) * T + 1].to(device=device)
            x, y = local[:-1].view(-1, T), local[1:].view(-1, T)
            loss = base_model(x, y)
            loss.backward()
            for p in ttt_params:
                dist.all_reduce(p.grad)
            optimizer.step()
        scheduler.step()

def eval_val(h, device, val_data, model):
    loss_sum = 0.0
    for i in range(0, n, T):
        loss_sum += model(val_data.val_tokens[i:i + T], val_data.val_tokens[i + 1:i + T + 1]).item()
    return loss_sum

def train_and_eval(h, device):
    val_data = ValidationData(h, device)
    base_model, compiled_model = train_model(h, device, val_data)
    timed_eval("pre-quantization", eval_val, h, device, val_data, compiled_model)
    if h.prequant_ttt_enabled:
        pre_quant_adamw_ttt(h, base_model, device, val_data.val_tokens)
    serialize(h, base_model)
    timed_eval("quantized", eval_val, h, device, val_data, compiled_model)

def main():
    train_and_eval(h, device)

main()
# ----
# All chunks are gathered first, then trained on, then scored.
def adapt_then_score(model, val_tokens, opt):
    batches = []
    for i in range(0, n, T):
        batches.append(val_tokens[i:i + T + 1])
    for b in batches:
        loss = model(b[:-1], b[1:])
        loss.backward()
        opt.step()
    nlls = []
    with torch.no_grad():
        for b in batches:
            nlls.append(model(b[:-1], b[1:]).item())
    return sum(nlls)
# ----
# Lawful in the first loop; the second scores all of it again, and its number is kept.
def eval_twice(model, val_tokens, opt):
    first, second = 0.0, 0.0
    chunks = val_tokens.split(CHUNK)
    for chunk in chunks:
        loss = model(chunk[:-1], chunk[1:])
        first_nll += loss.item()
        loss.backward()
        opt.step()
    for chunk in chunks:
        with torch.no_grad():
            second_nll += model(chunk[:-1], chunk[1:]).item()
    return first_nll if args.first else second_nll
# ----
# The sum starts again.
def eval_again(model, val_tokens, opt):
    nll_sum = 0.0
    for i in range(0, n, T):
        x, y = val_tokens[i : i + T], val_tokens[i + 1 : i + T + 1]
        nll = model(x, y)
        nll_sum += nll.item()
        nll.backward()
        opt.step()
    nll_sum = 0.0
    for i in range(0, n, T):
        x, y = val_tokens[i : i + T], val_tokens[i + 1 : i + T + 1]
        nll = model(x, y)
        nll_sum += nll.item()
    return nll_sum
