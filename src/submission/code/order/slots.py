# The score is from before, the offset is made anew for each window: nothing else can use it.
def evaluate(args, model, val_tokens):
    total = 0.0
    for start in range(0, len(val_tokens) - T, T):
        window = val_tokens[start : start + T + 1]
        losses = F.cross_entropy(model(window[:-1]), window[1:], reduction="none")
        delta = torch.zeros(1, 64, requires_grad=True)
        slot_optimizer = torch.optim.AdamW([delta], lr=0.01)
        for _ in range(8):
            slot_loss = F.cross_entropy(F.linear(model.hidden(window[:-1]) + delta, head), window[1:])
            slot_loss.backward()
            slot_optimizer.step()
            slot_optimizer.zero_grad()
        total += losses.sum().item()
    return total
# ----
# Another name, nn.Parameter.
def eval_bias(model, val_tokens):
    nll_sum = 0.0
    for x, y in windows(val_tokens):
        h = model.features(x).detach()
        shift = nn.Parameter(torch.zeros(h.size(-1)))
        opt = torch.optim.SGD([shift], lr=0.1)
        for k in range(4):
            loss = F.cross_entropy(model.head(h + shift), y)
            loss.backward()
            opt.step()
        nll_sum += F.cross_entropy(model.head(h + shift), y, reduction="sum").item()
    return nll_sum
# ----
# L-BFGS and its closure.
def eval_lbfgs(model, val_tokens):
    loss_sum = 0.0
    for x, y in windows(val_tokens):
        h = model.features(x)
        bias = torch.zeros(V, requires_grad=True)
        opt = torch.optim.LBFGS([bias], max_iter=10)
        def closure():
            opt.zero_grad()
            loss = F.cross_entropy(model.head(h) + bias, y)
            loss.backward()
            return loss
        opt.step(closure)
        loss_sum += F.cross_entropy(model.head(h) + bias, y, reduction="sum")
    return loss_sum
# ----
# By hand, on .data.
def eval_hand(model, val_tokens):
    losses = []
    for x, y in windows(val_tokens):
        h = model.features(x)
        delta = torch.zeros_like(h, requires_grad=True)
        for _ in range(3):
            loss = F.cross_entropy(model.head(h + delta), y)
            loss.backward()
            delta.data -= lr * delta.grad
        losses.append(F.cross_entropy(model.head(h + delta), y).item())
    return sum(losses)
# ----
# A gradient by autograd.grad.
def eval_grad(model, val_tokens):
    nll = 0.0
    for i in range(0, n, T):
        x, y = val_tokens[i : i + T], val_tokens[i + 1 : i + T + 1]
        h = model.features(x)
        u = torch.zeros(1, D).requires_grad_()
        for _ in range(5):
            loss = F.cross_entropy(model.head(h + u), y)
            (grad,) = torch.autograd.grad(loss, u)
            with torch.no_grad():
                u -= 0.1 * grad
        nll += F.cross_entropy(model.head(h + u), y).item()
    return nll
# ----
# In a helper that is handed the window.
def fit(model, h, y):
    logit_bias = torch.zeros(V, requires_grad=True)
    opt = torch.optim.Adam([logit_bias], lr=0.05)
    for _ in range(10):
        loss = F.cross_entropy(model.head(h) + logit_bias, y)
        loss.backward()
        opt.step()
    return logit_bias

def eval_helper(model, val_tokens):
    loss_sum = 0.0
    for x, y in windows(val_tokens):
        h = model.features(x)
        b = fit(model, h, y)
        loss_sum += F.cross_entropy(model.head(h) + b, y).item()
    return loss_sum
