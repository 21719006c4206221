"""Invented submissions for pictures of the site: no such run was made, and nobody of these names made it."""

import json
import math
import pathlib
import shutil

LAYERS = ["Nine", "Ten", "Eleven", "Twelve"]
IDEAS = ["Wider Windows", "Tied Heads", "Slow Momentum", "Sparse Gates", "Shared Experts", "Long Warm-down",
         "Bigram Memory", "Deep Residuals"]
AUTHORS = ["Ada Example", "Bo Sample", "Cleo Placeholder", "Dev Instance", "Eli Fixture", "Fay Invented"]
SEEDS = (42, 1337, 2024)


def noise(number):
    """Between -1 and 1, the same each time."""
    return math.sin(number * 12.9898) * math.cos(number * 78.233)


def log(number, seed, loss, ratio, total, code, steps):
    shift = 0.004 * noise(number * 7 + seed)
    lines = ["train_loader:dataset:fineweb10B_sp1024 train_shards:80", "world_size:8 grad_accum_steps:1", f"seed:{seed}"]
    for step in range(0, steps + 1, 100):
        ms = step * 600_000 // steps
        fall = loss + 4.9 * math.exp(-step / 220) + 0.75 * math.exp(-step / 1500) + 0.28 * (1 - step / steps)
        wobble = 0.02 * noise(step + seed + number)
        if step and step % 200 == 0:
            lines.append(f"step:{step}/20000 train_loss:{fall + wobble:.4f} train_time:{ms}ms step_avg:{ms / step:.2f}ms")
        if step % 500 == 0:
            value = fall + shift
            lines.append(f"step:{step}/20000 val_loss:{value:.4f} val_bpb:{value * ratio:.4f} train_time:{ms}ms "
                         f"step_avg:{ms / max(step, 1):.2f}ms")
        if step == steps * 8 // 10 // 100 * 100:
            lines.append(f"swa:start step:{step}")
        if step == steps * 9 // 10 // 100 * 100:
            lines.append(f"late_qat:enabled step:{step} scale:0.1")
    final = loss + shift + 0.003
    lines += [
        f"stopping_early: wallclock_cap train_time:599{412 + seed % 300}ms step:{steps}/20000",
        f"Code size: {code} bytes",
        f"Serialized model int6+zstd: {total - code} bytes",
        f"Total submission size int6+zstd: {total} bytes",
        f"final_int6_roundtrip_exact val_loss:{final:.8f} val_bpb:{final * ratio:.8f} eval_time:{150000 + 900 * number}ms",
    ]
    return "\n".join(lines) + "\n", final * ratio


def submission(folder, number, script, tokens_per_byte):
    day = 18 + number * 43 // 80
    date = f"2026-{3 + (day - 1) // 31:02}-{(day - 1) % 31 + 1:02}" if day <= 31 else f"2026-04-{day - 31:02}"
    name = f"{LAYERS[number % 4]} Layers, {IDEAS[number * 5 % 8]}"
    place = folder / "records" / "track_10min_16mb" / f"{date}_{name.replace(', ', '_').replace(' ', '')}_{number}"
    place.mkdir(parents=True)
    shutil.copy(script, place / "train_gpt.py")
    code = script.stat().st_size
    total = 15_700_000 + int(260_000 * noise(number)) + (290_000 if number % 9 == 4 else 0)
    loss = (1.224 - 0.15 * (1 - math.exp(-number / 24)) + 0.022 * abs(noise(number * 3)) + 0.002) / tokens_per_byte
    finals = []
    for seed in SEEDS[: 1 if number % 7 == 3 else 3]:
        text, final = log(number, seed, loss, tokens_per_byte, total, code, 6200 + number * 7)
        finals.append(final)
        (place / f"train_seed{seed}.log").write_text(text)
    best = min(finals) if number % 11 == 5 else sum(finals) / len(finals)
    claim = {"author": AUTHORS[number * 3 % 6], "name": name, "date": date, "track": "10min_16mb",
             "val_loss": round(best / tokens_per_byte, 8), "val_bpb": round(best, 8), "seeds": list(SEEDS[: len(finals)]),
             "bytes_total": total, "bytes_code": code, "hardware": "8xH100 SXM"}
    (place / "submission.json").write_text(json.dumps(claim, indent=2) + "\n")
    readme = [
        f"# {name}", "An invented record folder for pictures of the site; no such run was made.",
        f"Mean val_bpb over {len(finals)} seeds: **{best:.4f}**. {name}: sliding-window evaluation at stride 64, int6 "
        "weights in zstd at level 22. Weights are averaged over the last fifth of training, and trained with quantized "
        "weights in the last tenth. Everything else is the baseline's; runs differ in the seed only.",
        "```bash\nSEED=42 torchrun --standalone --nproc_per_node=8 train_gpt.py\n```",
    ]
    (place / "README.md").write_text("\n\n".join(readme) + "\n")


def tree(folder, script, count=80):
    """Writes them below a folder, and gives it."""
    # Bits per byte of the shipped example over its loss.
    tokens_per_byte = 1.16918154 / 1.97412204
    for number in range(count):
        submission(pathlib.Path(folder), number, pathlib.Path(script), tokens_per_byte)
    return pathlib.Path(folder)
