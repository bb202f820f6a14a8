"""Segmentation networks on classifiers: which maps they take, what they hand down."""

import dataclasses
import functools

import chex
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_zoo
from families import TINY, family_of
from families.dilated_fcn import RESNET

import cnnjax
from cnnjax import errors, inference, weights
from cnnjax.models import Classifier, last_maps
from cnnjax.models.resnet import BasicBlock, ResNet
from cnnjax.models.vgg import VGG
from cnnjax.segmentation import DeepLabV3, DeepLabV3Plus, DilatedFCN, EncoderUNet


CLASSIFIERS = {
    name: (model, family_of(name).STRIDES)
    for name, model in TINY.items()
    if isinstance(model, Classifier)
}


def constructor(model):
    """Returns a constructor of models like that one."""
    fields = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.init and field.name not in ("parent", "name")
    }
    return functools.partial(type(model), **fields)


@pytest.mark.parametrize(
    ("model", "strides"), CLASSIFIERS.values(), ids=CLASSIFIERS.keys()
)
def test_any_classifier_with_maps_has_one_at_each_stride(model, strides):
    """And a U-Net can be put on it."""
    net = EncoderUNet(
        classifier=constructor(model), num_classes=3, image_size=model.image_size
    )
    (_, out), _ = test_zoo.shapes(model)
    maps = {name for name, x in out.items() if x.ndim == 4}
    if not maps:
        with pytest.raises(ValueError, match="the classifier has no maps, only"):
            test_zoo.shapes(net)
        return
    (logits, _), _ = test_zoo.shapes(net)
    chex.assert_shape(logits, (2, model.image_size, model.image_size, 3))
    if maps <= strides.keys():  # Not so where maps lack padding.
        assert net.stride == max(strides[name] for name in maps)


def test_classifiers_come_by_name():
    classifier = functools.partial(cnnjax.create, "resnet20_cifar")
    model = EncoderUNet(classifier=classifier, num_classes=3, image_size=8)
    _, variables = test_zoo.shapes(model)
    assert {"backbone", "decoder2", "decoder1", "head"} == variables["params"].keys()


def sizes(*sides):
    """Returns an image and square maps of a network."""
    shapes = [jnp.zeros((1, side, side, 1)) for side in sides]
    return shapes[0], {f"stage{i}": x for i, x in enumerate(shapes[1:])}


@pytest.mark.parametrize(
    ("sides", "strides"),
    [
        ((224, 224, 112, 112, 7), {1: 224, 2: 112, 32: 7}),
        ((33, 9, 5, 3, 2, 1), {4: 9, 8: 5, 16: 3, 32: 2, 64: 1}),  # Rounded up.
        ((63, 31, 15, 7, 3, 1), {2: 31, 4: 15, 8: 7, 16: 3, 32: 1}),  # Or down.
        ((224, 109, 55, 27, 13), {2: 109, 4: 55, 8: 27, 16: 13}),  # Without padding.
    ],
)
def test_strides_follow_from_sizes(sides, strides):
    maps = last_maps(*sizes(*sides))
    assert {stride: x.shape[1] for stride, x in maps.items()} == strides


def test_an_image_too_small_to_tell_strides_apart_is_an_error():
    with pytest.raises(ValueError, match="16x16 pixels are too small"):
        last_maps(*sizes(16, 4, 2, 1, 1))


@pytest.mark.parametrize("kind", [DilatedFCN, DeepLabV3, DeepLabV3Plus, EncoderUNet])
@pytest.mark.parametrize("shape", [(33, 47), (40, 24)])
def test_logits_have_the_size_of_any_image(kind, shape):
    model = kind(classifier=RESNET, num_classes=3)
    images = jax.ShapeDtypeStruct((2, *shape, 3), jnp.float32)
    (logits, _), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    chex.assert_shape(logits, (2, *shape, 3))


def test_maps_of_a_missing_stride_are_an_error():
    shallow = functools.partial(VGG, depths=(1,), dims=(4,), hidden_features=0)
    net = DeepLabV3Plus(classifier=shallow, output_stride=32, image_size=16)
    with pytest.raises(ValueError, match="of strides 1, 2, but none of stride 4"):
        test_zoo.shapes(net)


@pytest.mark.parametrize(("output_stride", "sides"), [(8, (8, 8)), (16, (8, 4))])
def test_output_stride_reaches_the_classifier(output_stride, sides):
    model = DilatedFCN(
        classifier=RESNET, output_stride=output_stride, num_classes=3, image_size=64
    )
    (_, out), _ = test_zoo.shapes(model)
    assert (out["stage2"].shape[1], out["stage3"].shape[1]) == sides
    assert model.stride == output_stride


@pytest.mark.parametrize(
    "name", ["fcn_resnet50", "deeplabv3_resnet50", "unet_resnet50"]
)
def test_deformable_blocks_reach_the_classifier(name):
    model = cnnjax.create(name, deformable_blocks=4)
    blocks = {
        path.split("/")[2] for path in weights.shapes_of(model) if "offset" in path
    }
    assert blocks == {"stage3_block6", *(f"stage4_block{i}" for i in (1, 2, 3))}


def test_options_reach_the_classifier():
    called = []

    def convolution(*arguments, **options):
        called.append(arguments)
        return jax.lax.conv_general_dilated(*arguments, **options)

    model = DilatedFCN(
        classifier=RESNET, image_size=32, conv_general_dilated=convolution
    )
    model = model.clone(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    (_, out), variables = test_zoo.shapes(model)
    assert {x.dtype for x in out.values()} == {jnp.dtype("bfloat16")}
    backbone = jax.tree.leaves(variables["params"]["backbone"])
    assert {x.dtype for x in backbone} == {jnp.dtype("bfloat16")}
    assert len(called) == 2 + sum(x.ndim == 4 for x in backbone)


def test_a_scanned_classifier_has_the_same_parameters():
    depths = functools.partial(ResNet, depths=(3, 3), block=BasicBlock)
    model = DilatedFCN(classifier=depths, num_classes=3, image_size=32)
    scanned = model.clone(classifier=functools.partial(depths, scan=True))
    variables, (_, wanted) = test_zoo.noise(model), test_zoo.shapes(scanned)
    rolled = weights.roll(variables, wanted)
    assert "stage1_blocks2to3" in rolled["params"]["backbone"]
    chex.assert_trees_all_equal_shapes(rolled, wanted)
    chex.assert_trees_all_equal(weights.unroll(rolled), variables)


def test_auxiliary_heads_are_dropped():
    name = "fcn_resnet50"
    shapes = weights.shapes_of(cnnjax.create(name))
    flat = {path: np.zeros(a.shape, a.dtype) for path, a in shapes.items()}
    variables = flax.traverse_util.unflatten_dict(flat, sep="/")
    state = weights.to_torch(name, variables)
    extra = {"aux_classifier.0.weight": np.ones((256, 1024, 3, 3), np.float32)}
    extra |= {"aux_classifier.1.num_batches_tracked": np.zeros((), np.int64)}
    checkpoint = {f"module.{key}": a for key, a in {**state, **extra}.items()}
    found = weights.from_torch(name, checkpoint)
    assert jax.tree.structure(found) == jax.tree.structure(variables)
    with pytest.raises(errors.UserError, match=r"unexpected other\.0\.weight"):
        weights.from_torch(name, {**state, "other.0.weight": np.zeros(3)})


def test_what_has_no_reference_says_so():
    with pytest.raises(errors.UserError, match="unet has no reference"):
        weights.from_torch("unet", {})


def test_a_segmentation_network_is_exported_for_any_number_of_images(tmp_path):
    model = TINY["deeplabv3-dilated"]
    images, variables = test_zoo.images(model, n=3), test_zoo.noise(model)
    path = tmp_path / "model.safetensors"
    shape = (None, *images.shape[1:])
    inference.export(model, variables, shape, path, platforms=["cpu"])
    found = inference.load(path)(images)
    expected, _ = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
