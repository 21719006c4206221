# A training loop with validation.
def eval_val(args, model, val_tokens):
    val_loss_sum = 0.0
    for i in range(0, n, T):
        loss = model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1])
        val_loss_sum += loss.item()
    return val_loss_sum

def main():
    val_tokens = load_validation_tokens(args.val_files, args.val_seq_len)
    train_tokens, val_tokens = load_both(args.train_files, args.val_files)
    for step in range(iterations):
        val_loss = eval_val(args, model, val_tokens)
        x, y = train_loader.next_batch(args.val_seq_len)
        loss = model(x, y)
        loss.backward()
        opt.step()
        train_loss_sum += loss.item()
    eval_val(args, model, val_tokens)

main()
# ----
# Warm-up of the compiled backward pass without a step.
def eval_warm(model, val_tokens):
    loss = model(val_tokens[:T], val_tokens[1:T + 1])
    loss.backward()
    model.zero_grad()
    nll_sum = 0.0
    for i in range(0, n, T):
        nll_sum += model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]).item()
    return nll_sum
# ----
# A schedule's step and a step on random tokens.
def eval_other(model, val_tokens, scheduler, opt):
    nll_sum = 0.0
    dummy = torch.randint(0, V, (8, T))
    loss = model(dummy, dummy)
    loss.backward()
    opt.step()
    for i in range(0, n, T):
        nll_sum += model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]).item()
        scheduler.step()
    return nll_sum
# ----
# val_seq_len is a number.
def train_step(model, x, y, val_seq_len):
    loss = model(x[:, :val_seq_len], y)
    loss.backward()
    opt.step()
    total_loss += loss.item()
    return total_loss
# ----
# Hessians from training text, a learned scale on training text, and evaluation beside.
def collect_hessians(model, train_loader, device):
    for _ in range(64):
        x, y = train_loader.next_batch(1024)
        loss = model(x, y)
        loss.backward()

def learn_scales(model, calib_batches, opt):
    for x, y in calib_batches:
        loss = model(x, y)
        loss.backward()
        opt.step()

def eval_val(args, model, val_tokens):
    loss_sum = 0.0
    for i in range(0, n, T):
        loss_sum += model(val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]).item()
    return loss_sum

def main():
    val_tokens = load_validation_tokens(args.val_files)
    base_model, info = build(args, val_tokens)
    pre = eval_val(args, base_model, val_tokens)
    collect_hessians(base_model, train_loader, device)
    learn_scales(base_model, make_batches(train_loader), opt)
    post = eval_val(args, base_model, val_tokens)

main()
