# The offset is optimized on the window that is then scored.
def eval_slot(model, val_tokens):
    loss_sum = 0.0
    for x, y in windows(val_tokens):
        with torch.no_grad():
            hidden = model.forward_hidden(x)
        delta = torch.zeros(1, 1, D, requires_grad=True)
        opt = torch.optim.AdamW([delta], lr=0.005)
        for _ in range(args.slot_steps):
            opt.zero_grad()
            loss = F.cross_entropy(model.head(hidden + delta), y)
            loss.backward()
            opt.step()
        nll = F.cross_entropy(model.head(hidden + delta), y, reduction="none")
        loss_sum += nll.sum()
    return loss_sum
