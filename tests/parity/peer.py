"""The models of cases.py in PyTorch. Needs torch; nothing here is part of Troupe."""

import cases
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Mlp(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = (nn.Linear(i, o) for i, o in zip(sizes, sizes[1:]))

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.mlp = nn.ModuleDict({"up": nn.Linear(dim, 4 * dim), "down": nn.Linear(4 * dim, dim)})

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp["down"](F.gelu(self.mlp["up"](self.ln2(x))))


class Gpt(nn.Module):
    def __init__(self, vocab, layers, dim, heads, context):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)

    def forward(self, x):
        x = self.tok(x) + self.pos(torch.arange(x.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


def rotated(x, theta):
    """Rotary positions as in the published code: x[batch, heads, seq, d]."""
    d, dtype = x.shape[-1], x.dtype
    frequencies = theta ** -(torch.arange(0, d, 2, dtype=dtype) / d)
    angles = torch.outer(torch.arange(x.shape[-2], dtype=dtype), frequencies).repeat(1, 2)
    first, second = x.chunk(2, -1)
    return x * angles.cos() + torch.cat((-second, first), -1) * angles.sin()


class LlamaAttention(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.head_dim, self.theta = case.dim // case.heads, case.theta
        kv_dim = self.head_dim * case.kv_heads
        self.q_proj, self.o_proj = (nn.Linear(case.dim, case.dim, bias=False) for _ in range(2))
        self.k_proj, self.v_proj = (nn.Linear(case.dim, kv_dim, bias=False) for _ in range(2))

    def forward(self, x):
        q, k, v = (
            f(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotated(q, self.theta), rotated(k, self.theta)
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
        return self.o_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class LlamaMlp(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(case.dim, case.hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(case.hidden, case.dim, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    def __init__(self, case):
        super().__init__()
        sizes = {"gate": (case.hidden, case.dim), "up": (case.hidden, case.dim), "down": (case.dim, case.hidden)}
        for part, size in sizes.items():
            self.add_module(f"{part}_proj", nn.Module())
            self.get_submodule(f"{part}_proj").weight = nn.Parameter(torch.empty(case.experts, *size))

    def forward(self, x, expert):
        gate, up, down = (m.weight[expert] for m in (self.gate_proj, self.up_proj, self.down_proj))
        return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


class Moe(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.chosen = case.chosen
        self.router = nn.Linear(case.dim, case.experts, bias=False)
        self.experts = Experts(case)

    def forward(self, x):
        weights, choices = self.router(x).softmax(-1).topk(self.chosen, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        for expert in range(self.router.out_features):
            weight = (weights * (choices == expert)).sum(-1, keepdim=True)
            there = weight.squeeze(-1) > 0
            y[there] += weight[there] * self.experts(x[there], expert)
        return y


class LlamaBlock(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(case.dim, case.eps) for _ in range(2))
        self.self_attn = LlamaAttention(case)
        is_moe = isinstance(case, cases.Moe)
        self.add_module("moe" if is_moe else "mlp", Moe(case) if is_moe else LlamaMlp(case))

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        feed_forward = self.moe if hasattr(self, "moe") else self.mlp
        return x + feed_forward(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(case.vocab, case.dim)
        self.model.layers = nn.Sequential(*(LlamaBlock(case) for _ in range(case.layers)))
        self.model.norm = nn.RMSNorm(case.dim, case.eps)
        self.lm_head = nn.Linear(case.dim, case.vocab, bias=False)

    def forward(self, x):
        return self.lm_head(self.model.norm(self.model.layers(self.model.embed_tokens(x))))


class BertEmbeddings(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.word_embeddings = nn.Embedding(case.vocab, case.dim)
        self.position_embeddings = nn.Embedding(case.tokens, case.dim)
        self.token_type_embeddings = nn.Embedding(2, case.dim)
        self.LayerNorm = nn.LayerNorm(case.dim, case.eps)

    def forward(self, x, segments):
        places = self.position_embeddings(torch.arange(x.shape[1]))
        return self.LayerNorm(self.word_embeddings(x) + places + self.token_type_embeddings(segments))


class BertLayer(nn.Module):
    def __init__(self, case):
        super().__init__()

        def dense(inputs, outputs, **more):
            return nn.ModuleDict({"dense": nn.Linear(inputs, outputs)} | more)

        parts = nn.ModuleDict({part: nn.Linear(case.dim, case.dim) for part in ("query", "key", "value")})
        out, out2 = (nn.LayerNorm(case.dim, case.eps) for _ in range(2))
        self.attention = nn.ModuleDict({"self": parts, "output": dense(case.dim, case.dim, LayerNorm=out)})
        self.intermediate = dense(case.dim, case.hidden)
        self.output = dense(case.hidden, case.dim, LayerNorm=out2)
        self.heads = case.heads

    def forward(self, x, mask):
        parts = self.attention["self"]
        q, k, v = (
            parts[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)
        x = self.attention["output"]["LayerNorm"](x + self.attention["output"]["dense"](mixed))
        return self.output["LayerNorm"](x + self.output["dense"](F.gelu(self.intermediate["dense"](x))))


class Bert(nn.Module):
    def __init__(self, case):
        super().__init__()
        layers = nn.ModuleList(BertLayer(case) for _ in range(case.layers))
        self.bert = nn.ModuleDict({"embeddings": BertEmbeddings(case), "encoder": nn.ModuleDict({"layer": layers})})
        self.cls = nn.Module()
        self.cls.predictions = nn.Module()
        norm = nn.LayerNorm(case.dim, case.eps)
        self.cls.predictions.transform = nn.ModuleDict({"dense": nn.Linear(case.dim, case.dim), "LayerNorm": norm})
        self.cls.predictions.bias = nn.Parameter(torch.empty(case.vocab))

    def forward(self, x, segments, mask):
        x = self.bert["embeddings"](x, segments)
        for layer in self.bert["encoder"]["layer"]:
            x = layer(x, mask)
        transform = self.cls.predictions.transform
        x = transform["LayerNorm"](F.gelu(transform["dense"](x)))
        return F.linear(x, self.bert["embeddings"].word_embeddings.weight, self.cls.predictions.bias)


def conv_norm(inputs, outputs, kernel, stride=1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(outputs, track_running_stats=False)


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv_norm(inputs, outputs, 3, stride)
        self.conv2, self.bn2 = conv_norm(outputs, outputs, 3)
        self.downsample = nn.Sequential(*conv_norm(inputs, outputs, 1, stride) if inputs != outputs else ())

    def forward(self, x):
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class Resnet(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, case.width, 3)
        inputs = case.width
        for i, count in enumerate(case.blocks):
            blocks = []
            for b in range(count):
                blocks.append(ResnetBlock(inputs, case.width << i, 2 if i > 0 and b == 0 else 1))
                inputs = case.width << i
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.groups = len(case.blocks)
        self.fc = nn.Linear(inputs, case.classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.groups):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


class WideDeep(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, case.dim) for rows in case.rows)
        self.wide = nn.EmbeddingBag(case.cross_rows, 1, mode="sum")
        sizes = (len(case.rows) * case.dim + case.numeric, *case.hidden)
        self.deep = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes, sizes[1:]))
        self.head = nn.Linear(sizes[-1], 1)

    def forward(self, ids, numbers, crosses):
        x = torch.cat([*(table(ids[:, i]) for i, table in enumerate(self.tables)), numbers], 1)
        for layer in self.deep:
            x = F.relu(layer(x))
        return (self.head(x) + self.wide(crosses)).squeeze(1)


class Face(nn.Module):
    def __init__(self, case):
        super().__init__()
        layer = nn.Sequential(nn.Linear(case.inputs, case.hidden), nn.LayerNorm(case.hidden), nn.ReLU())
        self.backbone = nn.ModuleDict({"layers": nn.Sequential(layer), "embed": nn.Linear(case.hidden, case.dim)})
        self.head = nn.Linear(case.dim, case.classes, bias=False)
        self.case = case

    def forward(self, x, labels):
        embedded = self.backbone["embed"](self.backbone["layers"](x))
        cosines = F.linear(F.normalize(embedded), F.normalize(self.head.weight))
        angle = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        target = (self.case.m1 * angle + self.case.m2).cos() - self.case.m3
        return self.case.scale * torch.where(F.one_hot(labels, self.case.classes).bool(), target, cosines)


def make_model(case, dtype=torch.float32):
    if isinstance(case, cases.Face):
        return Face(case).to(dtype)
    if isinstance(case, cases.Resnet):
        return Resnet(case).to(dtype)
    if isinstance(case, cases.Bert):
        return Bert(case).to(dtype)
    if isinstance(case, cases.WideDeep):
        return WideDeep(case).to(dtype)
    if isinstance(case, cases.Mlp):
        return Mlp(case.sizes).to(dtype)
    if isinstance(case, cases.Llama):
        return Llama(case).to(dtype)
    return Gpt(case.vocab, case.layers, case.dim, case.heads, case.context).to(dtype)


def set_weights(model, weights) -> None:
    """The module's state from NumPy arrays; every name must match."""
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


def make_optimizer(model, options):
    options = dict(options)
    kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[options.pop("kind")]
    return kind(model.parameters(), **options)


def loss_of(model, batch, dtype):
    if "clicked" in batch:
        ids, numbers, crosses, clicked = (torch.from_numpy(batch[n]) for n in ("ids", "numbers", "crosses", "clicked"))
        return F.binary_cross_entropy_with_logits(model(ids, numbers.to(dtype), crosses), clicked.to(dtype))
    x = torch.from_numpy(batch["x"])
    x = x.to(dtype) if x.is_floating_point() else x.long()
    y = torch.from_numpy(batch["y"]).long()
    others = [torch.from_numpy(batch[name]) for name in ("segments", "mask") if name in batch]
    logits = model(x, y) if isinstance(model, Face) else model(x, *others)
    return F.cross_entropy(logits.flatten(0, -2), y.flatten())


def train(case, seed, dtype, steps=cases.STEPS) -> list[float]:
    """The loss of each step."""
    model = make_model(case, dtype)
    set_weights(model, cases.initial_weights(case, seed))
    optimizer = make_optimizer(model, case.optimizer)
    losses = []
    for batch in cases.batches(case, seed, steps):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, batch, dtype)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), cases.CLIP_GRAD_NORM)
        optimizer.step()
        losses.append(loss.item())
    return losses
