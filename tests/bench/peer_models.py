"""The models of workloads.py in PyTorch, as its users write them for speed: products with a common input in one, fused
attention, grouped products of experts. Needs torch."""

import torch
import workloads
from torch import nn
from torch.nn import functional as F


grouped_mm = getattr(F, "grouped_mm", None) or torch._grouped_mm  # public in newer releases only


class Merged(nn.Linear):
    """Linear layers of one input as one; `parts`: their names and outputs, in order."""

    def __init__(self, inputs: int, parts: dict[str, int], bias: bool):
        super().__init__(inputs, sum(parts.values()), bias)
        self.parts = parts


class Attention(nn.Module):
    """theta: the base of rotary positions; None: there are none."""

    def __init__(self, dim, heads, kv_heads, names, bias, theta=None):
        super().__init__()
        size = dim // heads
        self.head, self.parts, self.theta, self.grouped = size, [dim, size * kv_heads, size * kv_heads], theta, kv_heads < heads
        self.qkv = Merged(dim, dict(zip(names, self.parts)), bias)
        self.add_module(names[3], nn.Linear(dim, dim, bias=bias))
        self.out_name = names[3]

    def forward(self, x, rotation):
        q, k, v = (t.unflatten(-1, (-1, self.head)).transpose(1, 2) for t in self.qkv(x).split(self.parts, -1))
        if rotation is not None:
            q, k = rotated(q, *rotation), rotated(k, *rotation)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.grouped)
        return getattr(self, self.out_name)(mixed.transpose(1, 2).flatten(2))


def rotated(x, cosines, sines):
    first, second = x.float().chunk(2, -1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), -1).to(x.dtype)


class GptBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, heads, ("q", "k", "v", "out"), bias=True)
        self.mlp = nn.ModuleDict({"up": nn.Linear(dim, 4 * dim), "down": nn.Linear(4 * dim, dim)})

    def forward(self, x):
        x = x + self.attn(self.ln1(x), None)
        return x + self.mlp["down"](F.gelu(self.mlp["up"](self.ln2(x))))


def loss_of(logits, y):
    return F.cross_entropy(logits.flatten(0, -2).float(), y.flatten())


class Gpt(nn.Module):
    def __init__(self, vocab, layers, dim, heads, context):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(context, dim)
        self.blocks = nn.ModuleList(GptBlock(dim, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)

    def forward(self, x, y):
        x = self.tok(x) + self.pos.weight[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return loss_of(self.head(self.ln(x)), y)


class Mlp(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.gate_up = Merged(of["dim"], {"gate_proj": of["hidden"], "up_proj": of["hidden"]}, bias=False)
        self.down_proj = nn.Linear(of["hidden"], of["dim"], bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up), None


class ExpertLinear(nn.Module):
    def __init__(self, experts, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))

    def forward(self, x, ends):
        return grouped_mm(x, self.weight.transpose(-2, -1), offs=ends)


class Moe(nn.Module):
    """Tokens in the order of their experts, one grouped product per matrix, and back; see nn.MoE for the balance."""

    def __init__(self, of):
        super().__init__()
        self.count, self.chosen = of["experts"], of["chosen"]
        self.router = nn.Linear(of["dim"], self.count, bias=False)
        sizes = {"gate": (of["dim"], of["hidden"]), "up": (of["dim"], of["hidden"]), "down": (of["hidden"], of["dim"])}
        self.experts = nn.ModuleDict({f"{name}_proj": ExpertLinear(self.count, *size) for name, size in sizes.items()})

    def forward(self, x):
        probabilities = F.linear(x.float(), self.router.weight.float()).softmax(-1)
        weights, choices = probabilities.topk(self.chosen, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        counts = F.one_hot(choices, self.count).sum((1, 2))
        ends = counts.sum(0).cumsum(0).to(torch.int32)
        order = choices.flatten().argsort(stable=True)
        sent = x.flatten(0, 1).index_select(0, order // self.chosen)
        gate, up = (self.experts[name](sent, ends) for name in ("gate_proj", "up_proj"))
        came = self.experts["down_proj"](F.silu(gate) * up, ends).index_select(0, order.argsort())
        y = (came.unflatten(0, weights.shape) * weights[..., None].to(came.dtype)).sum(-2)
        shares = counts.float() * (self.count / (self.chosen * x.shape[1]))
        return y, (shares * probabilities.mean(1)).sum(1).mean()


class LlamaBlock(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(of["dim"], eps=1e-5) for _ in range(2))
        names = ("q_proj", "k_proj", "v_proj", "o_proj")
        self.self_attn = Attention(of["dim"], of["heads"], of["kv_heads"], names, bias=False)
        self.feed_forward = "moe" if "experts" in of else "mlp"
        self.add_module(self.feed_forward, Moe(of) if "experts" in of else Mlp(of))

    def forward(self, x, rotation):
        x = x + self.self_attn(self.input_layernorm(x), rotation)
        y, balance = getattr(self, self.feed_forward)(self.post_attention_layernorm(x))
        return x + y, balance


class Llama(nn.Module):
    def __init__(self, **of):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(of["vocab"], of["dim"])
        self.model.layers = nn.ModuleList(LlamaBlock(of) for _ in range(of["layers"]))
        self.model.norm = nn.RMSNorm(of["dim"], eps=1e-5)
        self.lm_head = nn.Linear(of["dim"], of["vocab"], bias=False)
        size = of["dim"] // of["heads"]
        angles = torch.outer(torch.arange(of["context"]), of["theta"] ** -(torch.arange(0, size, 2) / size))
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, x, y):
        x, balances = self.model.embed_tokens(x), []
        for layer in self.model.layers:
            x, balance = layer(x, (self.cosines, self.sines))
            balances.append(balance)
        loss = loss_of(self.lm_head(self.model.norm(x)), y)
        return loss if balances[0] is None else loss + workloads.BALANCE * sum(balances) / len(balances)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        sizes = ((inputs, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        for number, (into, outputs, kernel, step) in enumerate(sizes, 1):
            self.add_module(f"conv{number}", nn.Conv2d(into, outputs, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            conv = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(inner)))))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


class Resnet(nn.Module):
    def __init__(self, bottleneck, blocks, width=64, classes=1000):
        super().__init__()
        assert bottleneck
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        inputs, self.groups = width, len(blocks)
        for group, count in enumerate(blocks):
            made = []
            for block in range(count):
                made.append(Bottleneck(inputs, width << group, 2 if group > 0 and block == 0 else 1))
                inputs = 4 * (width << group)
            self.add_module(f"layer{group + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x, y):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for group in range(self.groups):
            x = getattr(self, f"layer{group + 1}")(x)
        return loss_of(self.fc(x.mean((2, 3))), y)


def make_model(workload):
    """The model in float32 with the workload's first weights. Parameters have Troupe's names and shapes, except that
    merged layers have those of their parts one after another."""
    kinds = {"gpt": Gpt, "llama": Llama, "moe": Llama, "resnet": Resnet}
    model = kinds[workload.kind](**workload.shape)
    shapes, parts = {}, {}
    for name, parameter in model.named_parameters():
        path, _, kind = name.rpartition(".")
        module = model.get_submodule(path)
        names, sizes = [name], [len(parameter)]
        if isinstance(module, Merged):
            parent = path.rpartition(".")[0]
            names = [f"{parent}.{part}.{kind}" for part in module.parts]
            sizes = list(module.parts.values())
        parts[name] = names
        shapes |= {part: (size, *parameter.shape[1:]) for part, size in zip(names, sizes)}
    weights = workloads.initial(shapes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.cat([torch.from_numpy(weights.pop(part)) for part in parts[name]]))
    return model
