import pytest
import torch
from diffusers import FluxPipeline
from torch import nn

from inference.local.host_weights import HostMemory, HostWeights, stream
from inference.local.parts import Precision
from inference.local.precision import BLOCKS, layer_names
from inference.local.quantising import quantise
from inference.weights.locations import DEV
from tests.inference.local.walk import DevicePeak, Walk

CPU, META = torch.device("cpu"), torch.device("meta")


def make_model():
    """Return a model with a parameter and a buffer."""
    return nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32)).eval()


def held(model):
    """Return the weights of a model, in the host's memory."""
    weights = HostWeights(HostMemory(pinned=False))
    weights.add(model)
    return weights


def held_with_variant():
    """Return a model, another one that has its first weight, and the weights of both."""
    first, second = make_model(), nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32))
    weights = held(first)
    second[0].weight = first[0].weight
    weights.add(second)
    return first, second, weights


class TestHostWeights:
    def test_a_shared_tensor_is_copied_once(self):
        """What two models share is one tensor on the host, and one on the device."""
        first, second, weights = held_with_variant()
        assert second[0].weight is first[0].weight
        weights.copy_to(META)
        assert second[0].weight is first[0].weight
        assert first[0].weight.is_meta

    def test_parameters_and_buffers_move(self):
        """Parameters and buffers have copies on the device, and parameters stay parameters."""
        model = make_model()
        held(model).copy_to(META)
        assert all(weight.is_meta for weight in model.parameters())
        assert all(buffer.is_meta for buffer in model.buffers())
        assert isinstance(model[0].weight, nn.Parameter)

    def test_the_copy_is_another_tensor(self):
        """A copy equals the weight on the host and lies elsewhere, even if the device is the CPU."""
        model = make_model()
        before = model[0].weight.clone()
        weights = held(model)
        on_host = model[0].weight
        weights.copy_to(CPU)
        assert torch.equal(model[0].weight, before)
        assert model[0].weight.data_ptr() != on_host.data_ptr()

    def test_dropping_copies_nothing(self):
        """When the copies are dropped, the modules have the very tensors of the host again."""
        model = make_model()
        weights = held(model)
        before = [(id(weight), weight.data_ptr(), weight._version) for weight in model.parameters()]
        weights.copy_to(META)
        weights.drop_copies()
        assert [(id(weight), weight.data_ptr(), weight._version) for weight in model.parameters()] == before

    def test_a_discarded_model_moves_no_more(self):
        """Of a model that is discarded, only what others share with it still moves."""
        first, second, weights = held_with_variant()
        weights.discard(second)
        weights.copy_to(META)
        assert first[0].weight.is_meta
        assert not any(weight.is_meta for weight in second.parameters())

    def test_quantised_weights_move(self):
        """An eight-bit weight goes to the device with its values and scales, and computes the same there."""
        model = nn.ModuleDict({"transformer_blocks": nn.ModuleList([nn.Linear(32, 32)])})
        quantise(model, Precision.INT8, CPU)
        layer, inputs = model["transformer_blocks"][0], torch.ones(1, 32)
        before = layer(inputs)
        weights = held(model)
        weights.copy_to(CPU)
        assert torch.equal(layer(inputs), before)
        weights.copy_to(META)
        assert layer.weight.is_meta
        assert layer.weight.data.qdata.is_meta

    def test_memory_is_taken_in_slabs(self):
        """Tensors of any format lie side by side in one piece of memory, each aligned."""
        memory = HostMemory(pinned=False)
        tensors = [torch.ones(3), torch.tensor(2.0), torch.ones(5, 2, dtype=torch.bfloat16), torch.arange(7)]
        copies = [memory.copy_of(tensor) for tensor in tensors]
        assert all(torch.equal(one, other) for one, other in zip(tensors, copies, strict=True))
        assert len({copy.untyped_storage().data_ptr() for copy in copies}) == 1
        assert all(copy.data_ptr() % 64 == 0 for copy in copies)


class TestStream:
    @pytest.fixture
    def t5(self, miniature):
        """The miniature's T5."""
        return FluxPipeline.from_pretrained(miniature / DEV, dtype=torch.bfloat16).text_encoder_2

    def test_it_computes_the_same(self, t5):
        """A streamed T5 encodes a prompt as before, bit for bit, in bf16 and in int8."""
        tokens = torch.arange(12)[None]
        for precision in (Precision.BF16, Precision.INT8):
            quantise(t5, precision, CPU)
            with torch.no_grad():
                before = t5(tokens)[0]
            stream(t5, CPU, HostMemory(pinned=False))
            with torch.no_grad():
                assert torch.equal(t5(tokens)[0], before)

    def test_all_runs_on_the_device(self, t5):
        """Each layer computes on the device, and nothing stays there."""
        stream(t5, META, HostMemory(pinned=False))
        with Walk(largest_on_host=max(weight.numel() for weight in t5.parameters())) as walk, torch.no_grad():
            encoded = t5(torch.zeros(1, 12, dtype=torch.long, device=META))[0]
        assert encoded.is_meta
        assert walk.wrong == []
        assert {weight.device for weight in t5.parameters()} == {CPU}

    def test_two_layers_are_on_the_device_at_most(self, t5):
        """The device never holds more weights than two layers."""
        layers = [
            sum(weight.nbytes for weight in t5.get_submodule(name).parameters()) for name in layer_names(t5)
        ]
        stream(t5, META, HostMemory(pinned=False))
        tokens = torch.zeros(1, 2, dtype=torch.long, device=META)  # few: activations are small beside weights
        with DevicePeak() as memory, torch.no_grad():
            t5(tokens)
        assert max(layers) <= memory.peak_bytes < 2 * max(layers) < sum(layers)

    def test_an_error_leaves_nothing_on_the_device(self, t5):
        """If a layer fails, its weights leave the device nevertheless."""
        stream(t5, META, HostMemory(pinned=False))

        def fail(*_):
            raise ZeroDivisionError

        t5.encoder.block[1].layer[0].register_forward_pre_hook(fail)
        with pytest.raises(ZeroDivisionError):
            t5(torch.zeros(1, 2, dtype=torch.long, device=META))
        assert {weight.device for weight in t5.parameters()} == {CPU}

    def test_the_layers_have_all_weights(self, t5):
        """Each weight of T5 is in a layer, and a block is one layer."""
        names = layer_names(t5)
        assert {id(w) for name in names for w in t5.get_submodule(name).parameters()} == {
            id(weight) for weight in t5.parameters()
        }
        assert [name for name in names if name.startswith(BLOCKS)] == [
            f"encoder.block.{number}" for number in range(len(t5.encoder.block))
        ]
