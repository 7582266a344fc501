import torch

from hardmine.scoring import PixelRate


def test_by_hand() -> None:
    predicted = torch.tensor([[[0, 1], [1, 0]], [[1, 1], [1, 1]]])
    logits = torch.nn.functional.one_hot(predicted, 2).permute(0, 3, 1, 2).float()
    target = torch.tensor([[[0, 1], [0, 255]], [[255, 255], [255, 255]]])
    score, area = PixelRate()(logits, target, target.byte(), 2)
    assert torch.allclose(score[0], torch.tensor(2 / 3))
    assert torch.allclose(area[0], torch.tensor([0.5, 1.0, 2 / 3]))
    assert score[1].isnan()
    assert area[1].isnan().all()


def test_an_absent_area_scores_nan() -> None:
    score, area = PixelRate()(torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8), 3)
    assert not score.isnan().any()
    assert area[0, 1:3].isnan().all()


def test_areas_need_not_be_classes() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 1] = 1
    target = torch.tensor([[[1, 1], [0, 0]]])
    _, area = PixelRate()(logits, target, torch.tensor([[[0, 1], [0, 1]]], dtype=torch.uint8), 2)
    assert area[0].tolist() == [0.5, 0.5, 0.5]
