"""A new frame: the image and everything that has a place in it are cut alike."""

import pytest
import torch
from conftest import make_images, make_recipe, make_store

from hardmine.conversions import Chain, ColorTransfer, Reframe
from hardmine.records import Recipe
from hardmine.scenes import Scenes


def coordinates(n: int = 4, height: int = 40, width: int = 60) -> Scenes:
    """Scenes whose red and green are x and y, with an index image and a label map that tell the quarter."""
    x, y = torch.arange(width).expand(height, width), torch.arange(height)[:, None].expand(height, width)
    image = torch.stack([x, y, torch.zeros_like(x)]).byte().expand(n, -1, -1, -1).contiguous()
    quarter = ((x >= width // 2).byte() + 2 * (y >= height // 2).byte()).expand(n, -1, -1).contiguous()
    boxes = torch.tensor([[10.0, 10, 20, 20], [0, 0, 60, 40], [0, 0, 0, 0]]).expand(n, -1, -1).contiguous()
    labels = torch.tensor([1, 2, -1]).expand(n, -1).contiguous()
    return Scenes(image, quarter, 4, {"target": quarter.long(), "boxes": boxes, "labels": labels})


def recipe(n: int = 4, draw: int = 0) -> Recipe:
    made = make_recipe(n, make_store(areas=4))
    return made.replace(draw=torch.arange(n) + draw)


def test_labels_go_with_their_pixels() -> None:
    made, share = Reframe(0.5)(coordinates(), recipe())
    x, y = made.image[:, 0].int(), made.image[:, 1].int()
    sure = ((x - 30).abs() > 1) & ((y - 20).abs() > 1)  # pixels between two quarters are both
    assert torch.equal(made.regions[sure].int(), ((x >= 30).int() + 2 * (y >= 20).int())[sure])
    assert torch.equal(made.labels["target"], made.regions.long())
    assert (share == 0).all()


def test_boxes_go_with_their_pixels() -> None:
    made, _ = Reframe(0.5)(coordinates(16), recipe(16))
    boxes, labels = made.labels["boxes"], made.labels["labels"]
    assert (labels[:, 1] == 2).all() and (boxes[:, 1] == torch.tensor([0.0, 0, 60, 40])).all()  # it fills every frame
    assert (labels[:, 2] == -1).all() and (boxes[:, 2] == 0).all()  # padding stays padding
    assert (labels[:, 0] == -1).any() and (labels[:, 0] == 1).any()  # the small one is outside some of the frames
    for row in range(16):
        x, y = made.image[row, 0].float(), made.image[row, 1].float()
        inside = (x >= 10) & (x < 19.5) & (y >= 10) & (y < 19.5)
        if labels[row, 0] == 1:
            where = inside.nonzero().float()
            low, high = where.min(0).values.flip(0), where.max(0).values.flip(0) + 1
            assert (boxes[row, 0] - torch.cat([low, high])).abs().max() < 2.5
        else:
            assert (boxes[row, 0] == 0).all()
            assert inside.sum() < 100  # a quarter of it, enlarged at most four times


def test_the_frame_is_the_views_alone() -> None:
    scenes, convert = coordinates(), Reframe(0.5)
    all_rows, _ = convert(scenes, recipe())
    one, _ = convert(scenes[2:3], recipe()[2:3].replace(parameter=torch.ones(1, 5, 6)))
    assert torch.equal(all_rows.image[2], one.image[0])
    other, _ = convert(scenes, recipe(draw=7))
    assert not torch.equal(all_rows.image, other.image)


def test_rows_that_are_not_converted_stay() -> None:
    scenes, rows = coordinates(), recipe()
    chosen = rows.chosen.clone()
    chosen[1] = False
    made, share = Reframe(0.5)(scenes, rows.replace(chosen=chosen))
    assert torch.equal(made.image[1], scenes.image[1]) and torch.equal(made.regions[1], scenes.regions[1])
    assert share.isnan().tolist() == [False, True, False, False]


def test_the_whole_frame_changes_nothing() -> None:
    scenes = coordinates()
    assert Reframe(1.0)(scenes, recipe())[0] is scenes


def test_follows_a_colour_transfer() -> None:
    image, regions = make_images()
    chain = Chain([ColorTransfer(), Reframe(0.6)])
    rows = make_recipe(3, make_store())
    colored, _ = ColorTransfer()(Scenes(image, regions, 3), rows)
    expected, _ = Reframe(0.6)(colored, rows)
    assert torch.equal(chain(Scenes(image, regions, 3), rows)[0].image, expected.image)
    assert chain.space.names == ColorTransfer().space.names


def test_no_frame_moves_where_not_everything_is_known_that_would_have_to() -> None:
    scenes = coordinates()
    fixed = Scenes(scenes.image, scenes.regions, 4, scenes.labels, movable=False)
    rows = recipe()
    rows.chosen[1] = False
    made, share = Reframe(0.5)(fixed, rows)
    assert made is fixed and share.nan_to_num(-1).tolist() == [0, -1, 0, 0]


def test_classes_stay_and_every_label_map_goes() -> None:
    scenes = coordinates()
    labels = {"target": torch.tensor([3, 1, 0, 2]), "mask": scenes.regions > 1, "edge": scenes.regions.int() * 10}
    made, _ = Reframe(0.5)(Scenes(scenes.image, scenes.regions, 4, labels), recipe())
    assert made.labels["target"].tolist() == [3, 1, 0, 2]
    assert torch.equal(made.labels["mask"], made.regions > 1) and made.labels["mask"].dtype == torch.bool
    assert torch.equal(made.labels["edge"], made.regions.int() * 10)


def test_the_frame_lies_inside_the_images_own_extent() -> None:
    """An image in the upper left corner, and white around it: no white comes in, and what shows is what shows alone."""
    scenes, rows = coordinates(), recipe()
    expected, _ = Reframe(0.5)(cropped(scenes, 30, 45), rows)
    scenes.image[:, :, 30:], scenes.image[..., 45:] = 255, 255
    scenes.regions[:, 30:], scenes.regions[..., 45:] = 255, 255
    extent = torch.tensor([[0.75, 0.75]]).expand(4, 2)
    made, _ = Reframe(0.5)(Scenes(scenes.image, scenes.regions, 4, scenes.labels, extent=extent), rows)
    assert torch.equal(made.image[..., :30, :45], expected.image)
    assert torch.equal(made.regions[..., :30, :45], expected.regions)
    assert torch.equal(made.labels["boxes"], expected.labels["boxes"])
    assert (made.labels["boxes"] <= torch.tensor([45, 30, 45, 30])).all()
    assert (made.image[:, :, 30:] == 255).all() and (made.image[..., 45:] == 255).all()
    assert (made.regions[:, 30:] == 255).all() and (made.regions[..., 45:] == 255).all()


def test_a_share_of_the_images_is_seen_from_another_frame() -> None:
    scenes, rows = coordinates(60), recipe(60)
    some, share = Reframe(0.5, share=0.5)(scenes, rows)
    every, _ = Reframe(0.5)(scenes, rows)
    framed = (some.image == every.image).flatten(1).all(1)
    assert torch.equal(~framed, (some.image == scenes.image).flatten(1).all(1))
    assert 20 <= int(framed.sum()) <= 40 and (share == 0).all()
    assert torch.equal(some.regions[~framed], scenes.regions[~framed])
    again, _ = Reframe(0.5, share=0.5)(scenes[rows.draw.flip(0)], rows[rows.draw.flip(0)])
    assert torch.equal(again.image.flip(0), some.image)  # its draw alone says which
    assert Reframe(0.5, share=0.0)(scenes, rows)[0] is scenes


def cropped(scenes: Scenes, height: int, width: int) -> Scenes:
    labels = {**scenes.labels, "target": scenes.labels["target"][:, :height, :width]}
    return Scenes(scenes.image[..., :height, :width], scenes.regions[:, :height, :width], 4, labels)


@pytest.mark.parametrize("smallest", [0.0, -1.0, 1.5])
def test_a_share_out_of_range_is_refused(smallest: float) -> None:
    with pytest.raises(ValueError, match="smallest must be a share"):
        Reframe(smallest)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_of_the_images_is_one(share: float) -> None:
    with pytest.raises(ValueError, match="share must be a share of the images"):
        Reframe(0.7, share)
