"""What the core's types say of themselves."""

from dataclasses import replace

from wildsat_core.types import ModelRef


def test_a_model_is_named_with_what_tells_it_from_another():
    one = ModelRef("a", "1" * 64, "minilm", "/255")
    assert one.beside(one) == "a"
    assert one.beside(replace(one, weights_sha256="2" * 64)) == "a (weights 111111111111)"
    assert (
        one.beside(replace(one, text_encoder="x", preprocessing="y")) == "a (text encoder minilm, preprocessing /255)"
    )
