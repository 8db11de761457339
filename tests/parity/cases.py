"""The models, weights and batches that Troupe and PyTorch both train, from formulas, with NumPy alone.

A case is trained for `STEPS` steps from each seed of `SEEDS`. Its recorded losses (record.py makes them with PyTorch,
in float64 and in float32) are in losses.json. Troupe passes when the root mean square, over all steps and seeds, of its
losses' difference from the float64 run is at most twice that of PyTorch's float32 run.

    for seed in SEEDS:
        weights = initial_weights(case, seed)          # name -> float32 array, the names of state_dict()
        losses += [train_step(b["x"], b["y"]) for b in batches(case, seed)]
    ours, peer = errors("gpt_small", losses by seed)

What both sides compute:

mlp   784-64-64-10: fc1, relu, fc2, relu, fc3, each with a bias; mean cross entropy of y.
gpt   tok[x] + pos[0..T-1]; per block x += out(attention(q, k, v of ln1(x))), x += down(gelu(up(ln2(x)))); ln; head
      without bias; mean cross entropy of y over all tokens. Scores are scaled by 1/sqrt(head size) and causal, gelu is
      the exact (erf) one, layer norm's eps 1e-5, all other linear layers have biases.
llama embed_tokens[x]; per block x += o(attention(rope(q), rope(k), v of input_layernorm(x))),
      x += down(silu(gate(y)) * up(y)) with y = post_attention_layernorm(x); norm; lm_head; mean cross entropy of y over
      all tokens. Key head j serves the query heads j heads/kv_heads and those up to the next; rope turns numbers i and
      i + d/2 of a head of size d at place p by p theta^(-2i/d); norms are RMS norms with eps 1e-5; there are no biases.
moe   as llama, but x += the sum over the two experts e with the largest r_e of
      r_e / (their sum) down_e(silu(gate_e(y)) * up_e(y)), with r = softmax(router(y)); weights of experts are (experts,
      out, in); no token is dropped.
bert  LayerNorm(word_embeddings[x] + position_embeddings[0..T-1] + token_type_embeddings[segments]); per layer
      x = LayerNorm(x + attention.output.dense(attention(query, key, value of x))), then
      x = LayerNorm(x + output.dense(gelu(intermediate.dense(x)))); logits decoder(LayerNorm(gelu(transform.dense(x))))
      with word_embeddings as the decoder's matrix; mean cross entropy of y where it is not -100. No token sees a place
      where mask is false; there is no dropout; names are those of Hugging Face's BertForMaskedLM; norms' eps is 1e-12.
resnet
      relu(bn1(conv1(x))), blocks relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x)))))), the mean over each plane, fc.
      Convolutions are 3x3 with padding 1 and without bias, the first of a group but the first one with stride 2; the
      shortcut is x, or a 1x1 convolution with that stride and a norm where the width changes. Batch norms (eps 1e-5)
      use the statistics of the whole batch. Mean cross entropy of y.
wide_deep
      head(relu(deep.1(relu(deep.0(x))))) + the sum over crosses of wide[crosses], with x the rows tables.i[ids[:, i]]
      of all fields and then the numbers; mean binary cross entropy of clicked.
face  e = embed(relu(LayerNorm(linear(x)))); cosines of e with the rows of head.weight; the label's becomes
      cos(m1 acos(cosine) + m2) - m3, with cosines taken within 1e-6 of +-1; all times scale; mean cross entropy of y.
All use weights of shape (out, in), as PyTorch's Linear has them. The gradient of all parameters together is clipped to
norm 1 as PyTorch does it, times min(1, 1 / (norm + 1e-6)); the optimizer is PyTorch's AdamW or SGD with the numbers of
the case, over all parameters in one group.

(A key's bias adds the same number to all scores of a row: its true gradient is zero, AdamW turns the rounding errors of
its gradient into steps of full size, and no loss sees them. Compare losses, or weights except `*.attn.k.bias`.)
"""

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

STEPS = 20
SEEDS = tuple(range(8))
ADAMW = {"kind": "adamw", "lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
# As Llama 2 was trained. With 1e-8 one gradient of 1e-10, all rounding error, takes a step of full size and decides the
# comparison.
LLAMA_ADAMW = ADAMW | {"eps": 1e-5}
SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}
# Where rounding takes an activation across a ReLU's kink, losses jump: few activations and small steps keep that rare.
RESNET_SGD = SGD | {"lr": 0.005}
CLIP_GRAD_NORM = 1.0


@dataclass(frozen=True)
class Mlp:
    optimizer: dict
    sizes: tuple[int, ...] = (784, 64, 64, 10)
    batch: int = 32


@dataclass(frozen=True)
class Gpt:
    layers: int
    dim: int
    heads: int
    context: int
    batch: int
    tokens: int  # per row of the batch, at most context
    vocab: int = 256
    optimizer: dict = None

    def __post_init__(self):
        object.__setattr__(self, "optimizer", self.optimizer or ADAMW)


@dataclass(frozen=True)
class Llama:
    layers: int
    dim: int
    heads: int
    kv_heads: int
    hidden: int
    batch: int
    tokens: int  # per row of the batch
    vocab: int = 256
    theta: float = 10000.0
    eps: float = 1e-5
    optimizer: dict = field(default_factory=lambda: LLAMA_ADAMW)


@dataclass(frozen=True)
class Moe(Llama):
    experts: int = 4
    chosen: int = 2


@dataclass(frozen=True)
class Bert:
    layers: int
    dim: int
    heads: int
    hidden: int
    batch: int
    tokens: int  # per row of the batch, padding among them
    vocab: int = 128
    eps: float = 1e-12
    optimizer: dict = field(default_factory=lambda: LLAMA_ADAMW)


@dataclass(frozen=True)
class Resnet:
    blocks: tuple[int, ...]  # of two 3x3 convolutions; a group has twice the width of the one before
    width: int
    size: int  # of the images
    batch: int
    classes: int = 10
    optimizer: dict = field(default_factory=lambda: RESNET_SGD)


@dataclass(frozen=True)
class WideDeep:
    rows: tuple[int, ...] = (50, 20, 7)  # of the fields' tables
    numeric: int = 3
    crosses: int = 2
    cross_rows: int = 64
    dim: int = 8
    hidden: tuple[int, ...] = (32, 16)
    batch: int = 32
    optimizer: dict = field(default_factory=lambda: LLAMA_ADAMW)


@dataclass(frozen=True)
class Face:
    inputs: int
    hidden: int
    dim: int
    classes: int
    batch: int
    scale: float
    m1: float = 1.0
    m2: float = 0.0
    m3: float = 0.0
    optimizer: dict = field(default_factory=lambda: LLAMA_ADAMW)


Case = Mlp | Gpt | Llama | Bert | Resnet | WideDeep | Face

CASES = {
    "mlp": Mlp(ADAMW),
    "mlp_sgd": Mlp(SGD),
    "gpt_small": Gpt(layers=2, dim=64, heads=4, context=64, batch=8, tokens=64),
    "gpt": Gpt(layers=4, dim=256, heads=8, context=256, batch=8, tokens=64),  # the quickstart's model
    "llama_small": Llama(layers=2, dim=64, heads=4, kv_heads=2, hidden=176, batch=8, tokens=64),
    "bert_small": Bert(layers=2, dim=64, heads=4, hidden=176, batch=8, tokens=32),
    "resnet_small": Resnet(blocks=(1, 1, 1), width=4, size=8, batch=8, classes=8),
    # Few tokens: where the second and the third expert of one are nearly alike, rounding decides between them.
    "moe_small": Moe(layers=2, dim=64, heads=4, kv_heads=2, hidden=96, batch=8, tokens=16),
    "wide_deep_small": WideDeep(),
    "face_small": Face(inputs=106, hidden=32, dim=16, classes=53, batch=32, scale=8.0, m1=0.9, m2=0.4, m3=0.1),
}


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Parameter names and shapes."""
    found: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        found[f"{name}.weight"] = (outputs, inputs)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def norm(name: str, size: int) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (size,)

    def conv(name: str, inputs: int, outputs: int, kernel: int) -> None:
        found[f"{name}.weight"] = (outputs, inputs, kernel, kernel)

    if isinstance(case, Resnet):
        conv("conv1", 3, case.width, 3)
        norm("bn1", case.width)
        inputs = case.width
        for i, count in enumerate(case.blocks):
            for b in range(count):
                block, outputs = f"layer{i + 1}.{b}", case.width << i
                for j, channels in ((1, inputs), (2, outputs)):
                    conv(f"{block}.conv{j}", channels, outputs, 3)
                    norm(f"{block}.bn{j}", outputs)
                if inputs != outputs:
                    conv(f"{block}.downsample.0", inputs, outputs, 1)
                    norm(f"{block}.downsample.1", outputs)
                inputs = outputs
        linear("fc", inputs, case.classes)
        return found
    if isinstance(case, Mlp):
        for i, (inputs, outputs) in enumerate(zip(case.sizes, case.sizes[1:]), 1):
            linear(f"fc{i}", inputs, outputs)
        return found
    if isinstance(case, WideDeep):
        for i, rows in enumerate(case.rows):
            found[f"tables.{i}.weight"] = (rows, case.dim)
        found["wide.weight"] = (case.cross_rows, 1)
        sizes = (len(case.rows) * case.dim + case.numeric, *case.hidden)
        for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
            linear(f"deep.{i}", inputs, outputs)
        linear("head", sizes[-1], 1)
        return found
    if isinstance(case, Face):
        linear("backbone.layers.0.0", case.inputs, case.hidden)
        norm("backbone.layers.0.1", case.hidden)
        linear("backbone.embed", case.hidden, case.dim)
        found["head.weight"] = (case.classes, case.dim)
        return found
    if isinstance(case, Bert):
        for table, rows in (("word", case.vocab), ("position", case.tokens), ("token_type", 2)):
            found[f"bert.embeddings.{table}_embeddings.weight"] = (rows, case.dim)
        norm("bert.embeddings.LayerNorm", case.dim)
        for layer in (f"bert.encoder.layer.{i}" for i in range(case.layers)):
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                linear(f"{layer}.attention.{part}", case.dim, case.dim)
            linear(f"{layer}.intermediate.dense", case.dim, case.hidden)
            linear(f"{layer}.output.dense", case.hidden, case.dim)
            for part in ("attention.output", "output"):
                norm(f"{layer}.{part}.LayerNorm", case.dim)
        linear("cls.predictions.transform.dense", case.dim, case.dim)
        norm("cls.predictions.transform.LayerNorm", case.dim)
        found["cls.predictions.bias"] = (case.vocab,)
        return found
    if isinstance(case, Llama):
        kv_dim = case.dim // case.heads * case.kv_heads
        found["model.embed_tokens.weight"] = (case.vocab, case.dim)
        for block in (f"model.layers.{i}" for i in range(case.layers)):
            for part, outputs in (("q", case.dim), ("k", kv_dim), ("v", kv_dim), ("o", case.dim)):
                linear(f"{block}.self_attn.{part}_proj", case.dim, outputs, bias=False)
            if isinstance(case, Moe):
                linear(f"{block}.moe.router", case.dim, case.experts, bias=False)
                for part in ("gate", "up"):
                    found[f"{block}.moe.experts.{part}_proj.weight"] = (case.experts, case.hidden, case.dim)
                found[f"{block}.moe.experts.down_proj.weight"] = (case.experts, case.dim, case.hidden)
            else:
                for part in ("gate", "up"):
                    linear(f"{block}.mlp.{part}_proj", case.dim, case.hidden, bias=False)
                linear(f"{block}.mlp.down_proj", case.hidden, case.dim, bias=False)
            for norm_name in ("input_layernorm", "post_attention_layernorm"):
                found[f"{block}.{norm_name}.weight"] = (case.dim,)
        found["model.norm.weight"] = (case.dim,)
        linear("lm_head", case.dim, case.vocab, bias=False)
        return found
    found["tok.weight"] = (case.vocab, case.dim)
    found["pos.weight"] = (case.context, case.dim)
    for i in range(case.layers):
        norm(f"blocks.{i}.ln1", case.dim)
        for part in ("q", "k", "v", "out"):
            linear(f"blocks.{i}.attn.{part}", case.dim, case.dim)
        norm(f"blocks.{i}.ln2", case.dim)
        linear(f"blocks.{i}.mlp.up", case.dim, 4 * case.dim)
        linear(f"blocks.{i}.mlp.down", 4 * case.dim, case.dim)
    norm("ln", case.dim)
    linear("head", case.dim, case.vocab, bias=False)
    return found


def bell(bits: np.random.PCG64, size: int) -> np.ndarray:
    """Nearly normal numbers (mean 0, variance 1) as float64: each the sum of four 16-bit uniforms. All sums are exact,
    so these are the same bits on every machine and with every version of NumPy."""
    raw = np.asarray(bits.random_raw(size), np.uint64)
    total = sum(((raw >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64) for shift in (0, 16, 32, 48))
    return (total - 2 * 65535) / 37837.0  # sqrt(4 * (2**32 - 1) / 12)


def initial_weights(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Parameter name -> float32 array; nothing is zero or one, so that every gradient matters."""
    bits = np.random.PCG64(1000 + seed)
    weights = {}
    for name, shape in sorted(shapes(case).items()):
        values = bell(bits, int(np.prod(shape))).reshape(shape)
        if name.endswith(".bias"):
            values *= 0.02
        elif len(shape) == 1:
            values = 1.0 + 0.1 * values
        elif name.startswith(("tok.", "pos.", "model.embed_tokens.", "bert.embeddings.", "tables.", "wide.")):
            values *= 0.1
        else:
            # Of experts' weights [experts, out, in] each expert by itself.
            values /= np.sqrt(shape[-1] if len(shape) == 3 else np.prod(shape[1:]))
        weights[name] = values.astype(np.float32)
    return weights


def batches(case: Case, seed: int, steps: int = STEPS) -> list[dict[str, np.ndarray]]:
    """One batch per step: {"x", "y"}; x float32 or int32 tokens, y int32 labels or the next tokens. Of a Bert also the
    int32 "segments" and the bool "mask"; y is the tokens that x hides as token 0, -100 elsewhere. Of a
    WideDeep the int32 "ids" and "crosses", and float32 "numbers" and "clicked"."""
    bits = np.random.PCG64(2000 + seed)
    found = []
    for _ in range(steps):
        if isinstance(case, (Mlp, Face)):
            inputs, classes = (case.inputs, case.classes) if isinstance(case, Face) else (case.sizes[0], case.sizes[-1])
            x = bell(bits, case.batch * inputs).reshape(case.batch, -1)
            width = inputs // classes
            y = [x[:, i * width : (i + 1) * width].sum(1) for i in range(classes)]
            found.append({"x": x.astype(np.float32), "y": np.argmax(np.stack(y, 1), 1).astype(np.int32)})
        elif isinstance(case, Resnet):  # the label is where the first row of the first channel is largest
            x = bell(bits, case.batch * 3 * case.size**2).reshape(case.batch, 3, case.size, case.size)
            found.append({"x": x.astype(np.float32), "y": np.argmax(x[:, 0, 0, : case.classes], 1).astype(np.int32)})
        elif isinstance(case, WideDeep):
            found.append(_clicks(case, bits))
        else:  # walks of small steps over the vocabulary: something to learn
            raw = np.asarray(bits.random_raw(case.batch * (case.tokens + 1)), np.uint64).reshape(case.batch, -1)
            steps_up = (raw % np.uint64(5)).astype(np.int64)
            steps_up[:, 0] = (raw[:, 0] % np.uint64(case.vocab)).astype(np.int64)
            walk = (np.cumsum(steps_up, 1) % case.vocab).astype(np.int32)
            if isinstance(case, Bert):
                found.append(_hidden(walk[:, :-1], np.asarray(bits.random_raw(case.batch * case.tokens), np.uint64)))
            else:
                found.append({"x": np.ascontiguousarray(walk[:, :-1]), "y": np.ascontiguousarray(walk[:, 1:])})
    return found


def _hidden(tokens: np.ndarray, raw: np.ndarray) -> dict[str, np.ndarray]:
    """Row r of n has its last r n-ths padded; a sixth of the other tokens is hidden."""
    rows, seq = tokens.shape
    place = np.arange(seq)
    mask = place < seq - (np.arange(rows) * seq // rows)[:, None]
    hidden = (raw.reshape(rows, seq) % np.uint64(6) == 0) & mask
    return {
        "x": np.where(hidden, 0, tokens).astype(np.int32),
        "y": np.where(hidden, tokens, -100).astype(np.int32),
        "segments": np.broadcast_to(place >= seq // 3, (rows, seq)).astype(np.int32),
        "mask": mask,
    }


def _clicks(case: WideDeep, bits: np.random.PCG64) -> dict[str, np.ndarray]:
    """A click where the numbers' sum and the parity of the first field's id say so."""

    def ids(rows: int) -> np.ndarray:
        return (np.asarray(bits.random_raw(case.batch), np.uint64) % np.uint64(rows)).astype(np.int32)

    columns = [ids(rows) for rows in case.rows]
    crosses = [ids(case.cross_rows) for _ in range(case.crosses)]
    numbers = bell(bits, case.batch * case.numeric).reshape(case.batch, -1)
    return {
        "ids": np.stack(columns, 1),
        "crosses": np.stack(crosses, 1),
        "numbers": numbers.astype(np.float32),
        "clicked": (numbers.sum(1) + columns[0] % 2 > 0.5).astype(np.float32),
    }


def checksum(case: Case, seed: int) -> int:
    """Of all weights and batches: two machines that agree on it train the same."""
    crc = 0
    for _, values in sorted(initial_weights(case, seed).items()):
        crc = zlib.crc32(values.tobytes(), crc)
    for batch in batches(case, seed):
        for _, values in sorted(batch.items()):
            crc = zlib.crc32(values.tobytes(), crc)
    return crc


def recorded(name: str) -> dict:
    """{"float64": losses by seed, "float32": losses by seed, "checksum": by seed} of one case."""
    return json.loads((Path(__file__).parent / "losses.json").read_text())["cases"][name]


def error(losses, oracle) -> float:
    """Root mean square of the difference, over all seeds and steps."""
    return float(np.sqrt(np.mean((np.asarray(losses, np.float64) - np.asarray(oracle, np.float64)) ** 2)))


def errors(name: str, losses) -> tuple[float, float]:
    """(our error, the error of PyTorch's float32 run): the first may be at most twice the second. losses[i] are those
    of SEEDS[i]; fewer seeds compare with the same seeds of the record."""
    record = recorded(name)
    count = len(losses)
    return (
        error(losses, record["float64"][:count]),
        error(record["float32"][:count], record["float64"][:count]),
    )
