"""Writes small files in each format as seeds for the fuzz target (torch 2.15, numpy 2.4).

usage: make.py FOLDER
"""
import collections, io, pickle, sys, types
import numpy as np, torch

out = sys.argv[1]
def module(path):
    parts, parent = path.split("."), None
    for k in range(len(parts)):
        name = ".".join(parts[: k + 1])
        m = sys.modules.setdefault(name, types.ModuleType(name))
        if parent: setattr(parent, parts[k], m)
        parent = m
    return parent

class Named:
    """Pickles as a call of `module.name`."""
    def __init__(self, module_name, name, *args):
        m = module(module_name)
        if not hasattr(m, name):
            f = lambda *a: None
            f.__module__, f.__qualname__, f.__name__ = module_name, name, name
            setattr(m, name, f)
        self.f, self.args = getattr(m, name), args
    def __reduce__(self): return self.f, self.args

def storage_bytes(t):
    b = io.BytesIO()
    torch.save(t.reshape(-1).clone().untyped_storage() if False else torch.storage.TypedStorage(wrap_storage=t.reshape(-1).clone().untyped_storage(), dtype=t.dtype, _internal=True), b, _use_new_zipfile_serialization=False)
    return b.getvalue()

def tensor(*shape):
    t = torch.arange(int(np.prod(shape)) if shape else 1, dtype=torch.float32)
    return Named("torch._utils", "_rebuild_tensor_v2", Named("torch.storage", "_load_from_bytes", storage_bytes(t)), 0,
                 tuple(shape), tuple(np.cumprod([1, *shape[:0:-1]])[::-1].tolist()) if shape else (), False, collections.OrderedDict())

def persistent(cls, parameters, children, **kwargs):
    state = dict(_parameters=collections.OrderedDict(parameters), _buffers=collections.OrderedDict(),
                 _modules=collections.OrderedDict(children), _init_args=(), _init_kwargs=kwargs)
    return Named("torch_utils.persistence", "_reconstruct_persistent_obj",
                 dict(type="class", version=6, module_src="# none", class_name=cls, state=state))

fc = persistent("FullyConnectedLayer", {"weight": tensor(2, 2), "bias": tensor(2)}, {})
g = persistent("Generator", {}, {"mapping": persistent("MappingNetwork", {"w_avg": tensor(2)}, {"fc0": fc})},
               z_dim=2, c_dim=0, w_dim=2, img_resolution=8, img_channels=1, mapping_kwargs=dict(num_layers=1),
               synthesis_kwargs=dict(channel_base=8, channel_max=2, conv_clamp=256))
d = persistent("Discriminator", {}, {"b8": persistent("DiscriminatorBlock", {"weight": tensor(1, 1, 3, 3)}, {})},
               c_dim=0, img_resolution=8, img_channels=1, channel_base=8, epilogue_kwargs=dict(mbstd_group_size=None))
for protocol in (2, 3, 4, 5):
    with open(f"{out}/nvidia_{protocol}.pkl", "wb") as f:
        pickle.dump(dict(training_set_kwargs={}, G=g, D=d, G_ema=g, augment_pipe=None), f, protocol=protocol)

w = lambda *s: torch.randn(*s)
conv = lambda n, o, i: {f"{n}.conv.weight": w(1, o, i, 3, 3), f"{n}.conv.modulation.weight": w(i, 2), f"{n}.conv.modulation.bias": w(i),
                        f"{n}.noise.weight": w(1), f"{n}.activate.bias": w(o)}
rgb = lambda n, i: {f"{n}.bias": w(1, 3, 1, 1), f"{n}.conv.weight": w(1, 3, i, 1, 1), f"{n}.conv.modulation.weight": w(i, 2), f"{n}.conv.modulation.bias": w(i)}
ema = {"style.1.weight": w(2, 2), "style.1.bias": w(2), "input.input": w(1, 2, 4, 4), **conv("conv1", 2, 2), **rgb("to_rgb1", 2),
       **conv("convs.0", 1, 2), **conv("convs.1", 1, 1), **rgb("to_rgbs.0", 1)}
for new in (True, False):
    torch.save(dict(g_ema=ema, latent_avg=w(2)), f"{out}/rosinality_{'zip' if new else 'legacy'}.pt", _use_new_zipfile_serialization=new)

class Network: pass
Network.__module__, Network.__qualname__ = "dnnlib.tflib.network", "Network"
module("dnnlib.tflib.network").Network = Network
def net(variables, components, **kwargs):
    n = Network()
    n.__dict__.update(version=4, name="n", static_kwargs=kwargs, components=components, build_module_src="", build_func_name="f", variables=variables)
    return n
a = lambda *s: np.ones(s, np.float32)
size = dict(num_channels=1, resolution=8, fmap_base=8, fmap_max=2, latent_size=2, dlatent_size=2, mapping_layers=1, mapping_fmaps=2)
tf = net([("lod", np.float32(0)), ("dlatent_avg", a(2))], dict(
    synthesis=net([("4x4/Const/const", a(1, 2, 4, 4)), ("8x8/Conv0_up/weight", a(3, 3, 2, 2)), ("noise0", a(1, 1, 4, 4))], {}, **size),
    mapping=net([("Dense0/weight", a(2, 2)), ("Dense0/bias", a(2))], {}, **size)), **size)
td = net([("8x8/FromRGB/weight", np.asfortranarray(a(1, 1, 1, 2))), ("Output/weight", a(2, 1))], {}, num_channels=1, resolution=8, fmap_base=8, fmap_max=2)
with open(f"{out}/tensorflow.pkl", "wb") as f:
    pickle.dump((tf, td, tf), f, protocol=4)

# An archive whose table of contents lies beyond the end.
with open(f"{out}/zip_table_beyond.pt", "wb") as f:
    f.write(b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(12) + (1 << 24).to_bytes(4, "little") + bytes(2))
