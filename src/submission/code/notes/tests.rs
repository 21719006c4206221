//! Notes on small scripts.

use super::*;

fn notes(text: &str) -> Vec<(NoteKind, u64)> {
    of(&Python::parse(text).unwrap()).into_iter().map(|note| (note.kind, note.line)).collect()
}

#[test]
fn training_before_scoring_is_told_from_training_after() {
    let before = "def eval_ttt(model, val_tokens):\n    for e in range(3):\n        loss = model(val_tokens)\n        \
                  loss.backward()\n        optimizer.step()\n    loss_sum += loss.item()\n";
    assert_eq!(notes(before), [(NoteKind::TrainsBeforeScoring, 5)]);
    let after = before.replace("    loss_sum += loss.item()\n", "    nll_sum = 0.0\n    return model\n");
    assert_eq!(notes(&after), [(NoteKind::TrainsBeforeScoring, 5)]);
}

#[test]
fn the_target_in_a_lookup_key_is_shown() {
    let text = "def score(ctx_hash, tgt):\n    key = (ctx_hash ^ (tgt * 1315423911)) % M\n";
    assert_eq!(notes(text), [(NoteKind::NgramCache, 2)]);
    assert_eq!(notes("class NgramBackoffCache:\n    pass\n"), [(NoteKind::NgramCache, 1)]);
    // Off unless the run sets it.
    let off = "N = int(os.environ.get('NGRAM_EVAL', '0'))\nclass NgramBackoffCache:\n    pass\n";
    assert_eq!(of(&Python::parse(off).unwrap())[0].switch.as_deref(), Some("NGRAM_EVAL"));
    assert_eq!(notes("class NgramHashEmbedding(nn.Module):\n    pass\ndef ngram_hash_embed_mix(): pass\n"), []);
    // A hash embedding of the last two tokens is part of most models.
    assert_eq!(
        notes("class BigramHashEmbedding:\n    def f(s, a, b):\n        return (36313 * a) ^ (27191 * b)\n"),
        []
    );
}

#[test]
fn calibration_on_validation_data() {
    let text = "def collect_hessians(model, val_tokens):\n    pass\ndef collect(train_tokens):\n    pass\n";
    assert_eq!(notes(text), [(NoteKind::ValidationInCalibration, 1)]);
}

#[test]
fn programs_and_network() {
    let text = "import subprocess, urllib.request\nsubprocess.run(['nvidia-smi'])\nsubprocess.run(['lrzip', \
                '-z'])\nos.system('apt-get install lrzip')\nfrom huggingface_hub import hf_hub_download\n";
    assert_eq!(
        notes(text),
        [
            (NoteKind::Network, 1),
            (NoteKind::ExternalProgram, 3),
            (NoteKind::ExternalProgram, 4),
            (NoteKind::Network, 5)
        ]
    );
}

#[test]
fn a_missing_zstandard_must_be_an_error() {
    let silent = "import zlib\ntry:\n    import zstandard\n    C = 'zstd'\nexcept ImportError:\n    C = 'zlib'\n";
    assert_eq!(notes(silent), [(NoteKind::SilentCompressorFallback, 3)]);
    let checked = format!("{silent}if C != 'zstd' and REQUIRE_ZSTD:\n    raise RuntimeError('install it')\n");
    assert_eq!(notes(&checked), []);
    let loud =
        "import zlib\ntry:\n    import zstandard\nexcept ImportError as e:\n    raise RuntimeError('x') from e\n";
    assert_eq!(notes(loud), []);
}

#[test]
fn slot_by_name_needs_steps() {
    assert_eq!(notes("def eval_slot(x):\n    loss.backward()\n__slots__ = ()\n"), [(NoteKind::Slot, 1)]);
    assert_eq!(notes("def slot_attention(x):\n    return x\nN = os.environ.get('SLOT_STEPS', 8)\n"), []);
}

#[test]
fn reports_and_data_are_told_from_the_network_at_evaluation() {
    let text = "import wandb, socket\nfrom huggingface_hub import hf_hub_download\nhost = socket.gethostname()\n\
                wandb.init(project='x')\ndef download_shards():\n    hf_hub_download('a')\n";
    assert_eq!(notes(text), [(NoteKind::NetworkElsewhere, 4), (NoteKind::NetworkElsewhere, 6)]);
    let text = "def eval_model():\n    hf_hub_download('a')\n";
    assert_eq!(notes(text), [(NoteKind::Network, 2)]);
}

#[test]
fn mixtures_and_prefixes() {
    assert_eq!(notes("class PPMD:\n    pass\ndef mix_ppm(p, q):\n    pass\n").len(), 2);
    assert_eq!(
        notes("def neural_cache_mix(p):\n    pass\ndef kv_cache_mix(p):\n    pass\n"),
        [(NoteKind::CacheMixing, 1)]
    );
    assert_eq!(notes("blob = lzma.compress(val_tokens.numpy().tobytes())\n"), [(NoteKind::PaidPrefix, 1)]);
    assert_eq!(notes("torch.save(model.state_dict(), p)\nzlib.compress(buf)\n"), []);
}
