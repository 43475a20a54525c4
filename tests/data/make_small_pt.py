"""Makes small.pt: a file as torch.save writes it, with every kind of tensor the reader must know, without torch.

The classes below only lend their names to the pickle.
"""

import collections
import os
import pickle
import struct
import sys
import types
import zipfile


def module(name):
    sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]


torch, utils, storage = module("torch"), module("torch._utils"), module("torch.storage")


def function(home, name):
    def f(*args):
        raise NotImplementedError

    f.__name__ = f.__qualname__ = name
    f.__module__ = home.__name__
    setattr(home, name, f)
    return f


rebuild = function(utils, "_rebuild_tensor_v2")
parameter = function(utils, "_rebuild_parameter")
for name in ["Float", "Half", "BFloat16", "Double", "Long", "ComplexFloat"]:
    setattr(torch, name + "Storage", type(name + "Storage", (), {"__module__": "torch"}))


class Storage:
    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class Call:
    def __init__(self, f, *args):
        self.f, self.args = f, args

    def __reduce__(self):
        return self.f, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, item):
        if isinstance(item, Storage):
            return ("storage", getattr(torch, item.kind + "Storage"), item.key, "cpu", item.count)
        return None


def tensor(source, offset, size, stride):
    return Call(rebuild, source, offset, size, stride, False, collections.OrderedDict())


floats = Storage("Float", "0", 12)
halves, brains = Storage("Half", "1", 2), Storage("BFloat16", "2", 2)
doubles, longs, pairs = Storage("Double", "3", 2), Storage("Long", "4", 2), Storage("ComplexFloat", "5", 2)
model = collections.OrderedDict(
    plain=tensor(floats, 0, (3, 4), (4, 1)),
    transposed=tensor(floats, 0, (4, 3), (1, 4)),
    tail=tensor(floats, 8, (4,), (1,)),
    column=tensor(floats, 1, (3,), (4,)),
    scalar=tensor(floats, 5, (), ()),
    half=tensor(halves, 0, (2,), (1,)),
    brain=tensor(brains, 0, (2,), (1,)),
    double=tensor(doubles, 0, (2,), (1,)),
    parameter=Call(parameter, tensor(floats, 0, (2, 2), (4, 1)), True, collections.OrderedDict()),
    counter=tensor(longs, 0, (2,), (1,)),
    rotary=tensor(pairs, 0, (2,), (1,)),
    note="not a tensor",
)
top = {
    "epoch": 3,
    "loss": 0.25,
    "hook": Call(os.system, "touch sam3i-was-here"),
    "optimizer": {"state": {0: {"step": 10 ** 30}}, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]},
    "meters": {"set": {1, 2}, "bytes": b"\x00\xff", "deep": [[[[(), None, True]]]]},
    "model": model,
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small")
with open(path + ".pkl", "wb") as out:
    Pickler(out, protocol=2).dump(top)
with zipfile.ZipFile(path + ".pt", "w", zipfile.ZIP_STORED) as archive:
    def add(name, data):
        archive.writestr(zipfile.ZipInfo("small/" + name, (1980, 1, 1, 0, 0, 0)), data)

    with open(path + ".pkl", "rb") as pickled:
        add("data.pkl", pickled.read())
    add("byteorder", "little")
    add("data/0", struct.pack("<12f", *range(12)))
    add("data/1", struct.pack("<2e", 0.5, -2.0))
    add("data/2", struct.pack("<2H", 0x3F80, 0xC000))
    add("data/3", struct.pack("<2d", 0.25, 1e9))
    add("data/4", struct.pack("<2q", 1, -1))
    add("data/5", struct.pack("<4f", 1, 2, 3, 4))
    add("version", "3\n")
os.remove(path + ".pkl")
