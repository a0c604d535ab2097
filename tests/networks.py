"""Networks of unusual kinds on 3 × 8 × 8 pictures of two classes, each a function for ``FILE.py:FUNCTION``.

Each has the layers ``relu1`` and ``relu2`` where it can; its docstring states what is unusual, in the words of the
table in docs/networks.md.
"""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from metamery.framework import ImageDomain, Model
from torch import nn
from torch.utils.checkpoint import checkpoint

CLASSES = ("bright", "dark")


def body(classes: int = 2, **parts: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        usual = OrderedDict(
            conv1=nn.Conv2d(3, 4, 3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(4, 4, 3),
            relu2=nn.ReLU(),
            flat=nn.Flatten(),
            fc=nn.Linear(64, classes),
        )
    usual.update(parts)
    return nn.Sequential(usual).eval()


def model(network: nn.Module, layers: Sequence[str] = ("relu1", "relu2"), **facts: Any) -> Model:
    return Model(network, **{"domain": ImageDomain(3, 8, 8), "layers": [*layers, "output"], "labels": CLASSES} | facts)


class Around(nn.Module):
    """The usual network with something before it and behind it."""

    def __init__(
        self,
        behind: Callable[[torch.Tensor], Any] = lambda logits: logits,
        before: Callable[[torch.Tensor], Any] = lambda signals: signals,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.body, self.before, self.behind = network or body(), before, behind

    def forward(self, signals: torch.Tensor) -> Any:
        return self.behind(self.body(self.before(signals)))


INSIDE = ("body.relu1", "body.relu2")


def plain() -> Model:
    """nothing"""
    return model(body())


# ---- what the network returns


def returns_mapping() -> Model:
    """returns a dict with `logits`"""
    return model(Around(lambda logits: {"features": logits * 2, "logits": logits}), INSIDE)


def returns_unnamed_mapping() -> Model:
    """returns a dict of several tensors, none called `logits`"""
    return model(Around(lambda logits: {"out": logits, "aux": logits}), INSIDE)


def returns_tuple() -> Model:
    """returns a tuple"""
    return model(Around(lambda logits: (logits, logits * 2)), INSIDE)


def returns_list_of_one() -> Model:
    """returns a list of one tensor"""
    return model(Around(lambda logits: [logits]), INSIDE)


Pair = namedtuple("Pair", "features logits")


def returns_namedtuple() -> Model:
    """returns a namedtuple with `logits`"""
    return model(Around(lambda logits: Pair(logits * 2, logits)), INSIDE)


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor | None = None


def returns_dataclass() -> Model:
    """returns a dataclass with `logits`"""
    return model(Around(Output), INSIDE)


def returns_none() -> Model:
    """returns None"""
    return model(Around(lambda _logits: None), INSIDE)


def returns_generator() -> Model:
    """returns a generator"""
    return model(Around(lambda logits: (row for row in logits)), INSIDE)


def returns_scalar_each() -> Model:
    """one number for each signal, `(B,)`"""
    return model(Around(lambda logits: logits[:, 0]), INSIDE, labels=None)


def one_class() -> Model:
    """a single logit, `(B, 1)`"""
    return model(body(classes=1), labels=None)


def squeezes() -> Model:
    """`.squeeze()`: a batch of one loses its dimension"""
    return model(Around(lambda logits: logits.squeeze()), INSIDE)


def segments() -> Model:
    """logits for each pixel, `(B, classes, H, W)`"""
    inner = body()
    return model(nn.Sequential(OrderedDict(relu1=nn.Sequential(inner.conv1, nn.ReLU()), relu2=nn.ReLU())))


def returns_sum() -> Model:
    """one number for the whole batch"""
    return model(Around(lambda logits: logits.sum()), INSIDE)


def softmax() -> Model:
    """probabilities in place of logits"""
    return model(Around(lambda logits: logits.softmax(1)), INSIDE)


def more_labels() -> Model:
    """more labels than logits"""
    return model(body(), labels=[*CLASSES, "grey"])


def background_class() -> Model:
    """one logit more than labels: a background class"""
    return model(body(classes=3))


def two_of_one_name() -> Model:
    """several classes of one name"""
    return model(body(classes=3), labels=["bright", "dark", "dark"])


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, signals: torch.Tensor) -> Any:
        logits = self.body(signals)
        return (logits, logits / 2) if self.training else logits


def auxiliary_head() -> Model:
    """an auxiliary head in training mode"""
    return model(Auxiliary(), INSIDE)


# ---- what the network does with a batch


def normalises_by_batch() -> Model:
    """BatchNorm without running statistics"""
    return model(body(relu1=nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU())))


class Restless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        self.norm.train()
        return self.norm(signals)


def trains_inside() -> Model:
    """`.train()` inside forward"""
    return model(body(conv1=nn.Sequential(Restless(), nn.Conv2d(3, 4, 3))))


class Attending(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + (rows @ rows.T).softmax(dim=1) @ rows


def attends_over_batch() -> Model:
    """attention over the batch"""
    return model(body(flat=nn.Sequential(nn.Flatten(), Attending())))


class Tokens(nn.Module):
    """As CLIP's visual transformer: its blocks work on (tokens, batch, width)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.patch = nn.Conv2d(3, 8, size, size)
            self.blocks = nn.Sequential(*[nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0) for _ in range(2)])
            self.fc = nn.Linear(8, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(signals).flatten(2).permute(2, 0, 1)  # (T, B, C)
        return self.fc(self.blocks(tokens).mean(0))


def tokens_first() -> Model:
    """transformer blocks on (tokens, batch, width)"""
    return model(Tokens(4).eval(), ("blocks.0", "blocks.1"))


def as_many_tokens_as_signals() -> Model:
    """the same, with as many tokens as signals in a batch"""
    return model(Tokens(8).eval(), ("blocks.0", "blocks.1"))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.lstm, self.fc = nn.LSTM(24, 6), nn.Linear(6, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return self.fc(self.lstm(signals.permute(2, 0, 1, 3).flatten(2))[0][-1])


def lstm() -> Model:
    """`nn.LSTM`, time before batch"""
    return model(Recurrent().eval(), ("lstm[0]",))


class Windows(nn.Module):
    """As Swin's attention: parts of a picture stand behind one another in the batch."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inside, self.fc = nn.Sequential(nn.Linear(48, 8), nn.ReLU()), nn.Linear(32, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        parts = signals.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
        return self.fc(self.inside(parts).reshape(len(signals), -1))


def windows() -> Model:
    """windows of a signal in the batch dimension"""
    return model(Windows().eval(), ("inside",))


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(5, 64))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.value


class WithConstant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.constant = body(), Constant()

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return self.body(signals) + self.constant(signals).mean()


def layer_without_batch() -> Model:
    """a layer without a batch dimension"""
    return model(WithConstant(), ("body.relu1", "constant"))


# ---- what the network is made of


def forgets_training_flag() -> Model:
    """`F.dropout` without `training=`"""
    return model(Around(before=lambda signals: F.dropout(signals, 0.5)), INSIDE)


def noisy() -> Model:
    """noise in eval mode, meant and said so (`stochastic=True`)"""
    return model(Around(before=lambda signals: signals + 0.01 * torch.randn_like(signals)), INSIDE, stochastic=True)


def changes_input() -> Model:
    """changes its input in place"""
    return model(Around(before=lambda signals: signals.sub_(0.5).div_(0.25)), INSIDE)


def shared_module() -> Model:
    """one module under two names"""
    relu = nn.ReLU()
    return model(body(relu1=relu, relu2=relu), ("relu1", "relu1@2"))


def second_name() -> Model:
    """the same, and the second name asked for"""
    relu = nn.ReLU()
    return model(body(relu1=relu, relu2=relu))


def float64() -> Model:
    """float64 weights"""
    return model(body().double())


def float16() -> Model:
    """float16 weights"""
    return model(body().half())


def bfloat16() -> Model:
    """bfloat16 weights"""
    return model(body().bfloat16())


def on_meta() -> Model:
    """weights on the meta device"""
    with torch.device("meta"):
        return model(body())


def lazy() -> Model:
    """lazy modules that never ran"""
    return model(body(conv1=nn.LazyConv2d(4, 3), fc=nn.LazyLinear(2)))


def built_in_inference_mode() -> Model:
    """weights made in inference mode"""
    with torch.inference_mode():
        return model(body())


class NoGrad(Around):
    @torch.no_grad()
    def forward(self, signals: torch.Tensor) -> Any:
        return super().forward(signals)


def no_grad() -> Model:
    """forward under `torch.no_grad()`"""
    return model(NoGrad(), INSIDE)


class Inference(Around):
    @torch.inference_mode()
    def forward(self, signals: torch.Tensor) -> Any:
        return super().forward(signals)


def inference_mode() -> Model:
    """forward under `torch.inference_mode()`"""
    return model(Inference(), INSIDE)


def detaches() -> Model:
    """detaches its input"""
    return model(Around(before=lambda signals: signals.detach()), INSIDE)


def rounds() -> Model:
    """rounds its input to 8 bits"""
    return model(Around(before=lambda signals: (signals * 255).round().to(torch.uint8) / 255), INSIDE)


class Autocast(Around):
    def forward(self, signals: torch.Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(signals)


def autocast() -> Model:
    """forward under autocast"""
    return model(Autocast(), INSIDE)


def counts() -> Model:
    """a buffer that changes with every pass"""
    network = body()
    network.register_buffer("seen", torch.zeros(()))
    network.register_forward_pre_hook(lambda part, _given: part.seen.add_(1) and None)
    return model(network)


def in_place_relus() -> Model:
    """in-place ReLUs"""
    return model(body(relu1=nn.ReLU(inplace=True), relu2=nn.ReLU(inplace=True)))


def weight_norm() -> Model:
    """parametrised weights"""
    network = body()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nn.utils.parametrizations.weight_norm(network.conv1)
        nn.utils.parametrizations.spectral_norm(network.fc)
    return model(network)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.body, self.reentrant = body(), reentrant

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.body, signals, use_reentrant=self.reentrant)


def checkpointed() -> Model:
    """checkpointing"""
    return model(Checkpointed(False), INSIDE)


def reentrant() -> Model:
    """reentrant checkpointing"""
    return model(Checkpointed(True), INSIDE)


def data_parallel() -> Model:
    """`nn.DataParallel`"""
    return model(nn.DataParallel(body()), ("module.relu1", "module.relu2"))


def traced() -> Model:
    """TorchScript, at its output"""
    return model(torch.jit.trace(body(), torch.zeros(1, 3, 8, 8)), ())


def quantised() -> Model:
    """a dynamically quantised last layer"""
    network = torch.ao.quantization.quantize_dynamic(body(), {nn.Linear})
    return model(network)


# ---- what the network does not take


def other_size() -> Model:
    """takes signals of another size than its domain says"""
    return model(body(), domain=ImageDomain(3, 12, 12))


def other_channels() -> Model:
    """takes another number of channels"""
    return model(body(), domain=ImageDomain(1, 8, 8))


class WithLengths(Around):
    def forward(self, signals: torch.Tensor, lengths: torch.Tensor) -> Any:
        return super().forward(signals)


def second_argument() -> Model:
    """wants a second argument"""
    return model(WithLengths(), INSIDE)


def wants_mapping() -> Model:
    """wants a mapping of arguments"""
    return model(Around(before=lambda signals: signals["pixel_values"]), INSIDE)


def raises_key_error() -> Model:
    """raises an exception of its own kind"""
    return model(Around(before=lambda signals: {}["pixel_values"]), INSIDE)


def numpy_inside() -> Model:
    """goes through NumPy"""
    return model(Around(before=lambda signals: torch.from_numpy(signals.numpy())), INSIDE)


NETWORKS: dict[str, Callable[[], Model]] = {
    name: build
    for name, build in list(globals().items())
    if callable(build) and getattr(build, "__module__", "") == __name__ and build.__annotations__ == {"return": "Model"}
}
