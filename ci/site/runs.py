"""Pages that are one file, in a browser: plots of `train` and `score`, reports of `reproduce` and `rerun`, the bytes of
`pack --inspect`. Names, titles, logs and tensors are attacks."""

import json
import os
import pathlib
import shutil
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMOKE = ROOT / "fixtures" / "smoke"

RECIPE = """\
schema: golf-harness/manifest/v1
name: tiny
claim: {{ title: {title}, metrics: {{ val_bpb: "1.5" }} }}
model: {{ num_layers: 2, model_dim: 16, num_heads: 2, num_kv_heads: 1, mlp_mult: 2, bigram_vocab_size: 64, bigram_dim: 8 }}
schedule:
  max_wallclock_seconds: 0
  iterations: 30
  warmdown_iters: 20
  warmup_steps: 1
  train_batch_tokens: 1024
  train_seq_len: 64
  val_loss_every: 10
  train_log_every: 2
  swa: {{ every: 2, start_frac: 0.5 }}
  qat: {{ start_frac: 0.8 }}
eval: {{ seq_len: 64, stride: 64 }}
data:
  path: {data}
  train_pattern: "smoke_train_*.bin"
  val_pattern: "smoke_val_*.bin"
  tokenizer: {{ path: {data}/tokenizer.model }}
"""


def done(command, folder, codes=(0, 1)):
    finished = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode in codes, f"{command}: {finished.returncode}\n{finished.stdout}{finished.stderr}"


def hostile_weights(path, attacks):
    """A safetensors file whose tensors have attacks for names."""
    values = bytes(range(256)) * 64
    tensors = {
        attack: {"dtype": "U8", "shape": [len(values)], "data_offsets": [at * len(values), (at + 1) * len(values)]}
        for at, attack in enumerate(attacks)
    }
    header = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + values * len(attacks))


def hostile_submission(place, attacks):
    """A submission that runs, and whose every word and line is an attack."""
    attack = " ".join(attacks)
    shutil.copytree(ROOT / "fixtures" / "submissions" / "runnable", place)
    claim = json.loads((place / "submission.json").read_text())
    claim.update({"name": attack, "author": attacks[1]})
    (place / "submission.json").write_text(json.dumps(claim))
    for path in place.glob("*.log"):
        path.write_text(f"{attack}\n{path.read_text()}{attack}\n")
    return place


def check_page(check, path, what, curves=None):
    """One page: whole without a script, quiet, narrow enough, and nothing of others in it runs."""
    browser = check.browser
    browser.size(1280)
    browser.open(path)
    check.equal(browser.value("window.attacked || null"), None, f"{what} runs nothing of others")
    check.equal(browser.value("document.querySelectorAll('script, img, iframe, object, link, [onerror], [onload]').length"), 0,
                f"{what} has no markup of others")
    check.that(browser.value("document.querySelector('h1').textContent.length") > 0, f"{what} has a heading")
    if curves is not None:
        check.equal(browser.value("document.querySelectorAll('path.line').length"), curves, f"curves of {what}")
    light = browser.value("getComputedStyle(document.body).backgroundColor")
    browser.media("dark")
    check.that(browser.value("getComputedStyle(document.body).backgroundColor") != light, f"{what} is dark as the system is")
    browser.media()
    check.quiet(what)
    check.fits(what)


def make(folder, golf, attacks):
    """Every page, by name: path and number of curves."""
    folder.mkdir(parents=True, exist_ok=True)
    title = json.dumps(" ".join(attacks[:3])[:180])
    (folder / "tiny.yaml").write_text(RECIPE.format(title=title, data=os.path.relpath(SMOKE, folder)))
    done([golf, "train", "tiny.yaml", "--out", "run", "--plot", "curves.html", "--quiet"], folder)
    done([golf, "train", "tiny.yaml", "--out", "run", "--plot", "curves.svg", "--quiet", "--overwrite"], folder)
    done([golf, "pack", "run/manifest.yaml", "--quiet"], folder)
    done([golf, "score", "run/manifest.yaml", "--sliding", "--plot", "losses.html", "--quiet"], folder)
    done([golf, "reproduce", "tiny.yaml", "--out", "seeds", "--seeds", "1,2", "--quiet"], folder)
    hostile_weights(folder / f"{attacks[1]}.safetensors", attacks)
    done([golf, "pack", "--inspect", f"{attacks[1]}.safetensors", "--html", "evil.html", "--quiet"], folder)
    done([golf, "pack", "--inspect", "run/model.golf", "--html", "bytes.html", "--quiet"], folder)
    pages = {
        "plot of training": (folder / "curves.html", 4),
        "plot of losses": (folder / "losses.html", 3),
        "report of a seed": (folder / "seeds" / "seed-1" / "report.html", 2),
        "report of seeds": (folder / "seeds" / "report.html", 4),
        "bytes of a model": (folder / "bytes.html", None),
        "bytes of a stranger's file": (folder / "evil.html", None),
    }
    submission = hostile_submission(folder / "tiny", attacks)
    # The script is this repository's own; the attacks around it are text.
    data = ["--data-path", SMOKE, "--tokenizer-path", SMOKE / "tokenizer.model"]
    done([golf, "rerun", submission, "--seeds", "1,2", "--out", "rerun", "--no-sandbox", *data, "--quiet"], folder)
    pages["report of a rerun"] = (folder / "rerun" / "report.html", None)
    return pages


def pages_of_runs(check, folder, golf, attacks):
    browser = check.browser
    for what, (path, curves) in make(folder / "runs", golf, attacks).items():
        check_page(check, path, what, curves)
    browser.open(folder / "runs" / "curves.svg")
    check.equal(browser.value("document.querySelectorAll('svg svg.chart').length"), 4, "pictures in the SVG")
    check.that(browser.value("document.querySelector('text').getBoundingClientRect().height") > 0, "its words are drawn")
    check.quiet("the SVG of training")
    browser.open(folder / "runs" / "curves.html")
    words = browser.value("[...document.querySelectorAll('.mark-text')].map((mark) => mark.textContent)")
    check.that({"warm-down", "SWA", "QAT"} <= set(words), f"marks of the schedule: {words}")
    browser.open(folder / "runs" / "rerun" / "report.html")
    text = browser.value("document.body.textContent")
    check.that("claimed, seed 1" in text and "rerun, seed 1" in text, "claimed curves beside the rerun's own")
