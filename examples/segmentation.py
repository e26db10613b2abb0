"""
Segmentation: a class for each pixel
====================================

Images have logits of shape N x C x H x W. The classes are on axis 1, and nothing is transposed in
memory. Pixels on the borders of the shapes, where an annotator could not tell, have the label 255
and are ignored.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import softstep.torch as st

BACKGROUND, DISC, SQUARE, UNSURE = 0, 1, 2, 255


def draw(rng, size=40):
    """Return a noisy image with a disc and a square, and the class of each pixel."""
    down, across = np.mgrid[:size, :size]
    image, label = np.zeros((size, size)), np.full((size, size), BACKGROUND)
    for shape in (DISC, SQUARE):
        centre, radius = rng.uniform(10, size - 10, 2), rng.uniform(6, 10)
        far = np.stack([down - centre[0], across - centre[1]])
        distance = np.hypot(*far) if shape == DISC else np.abs(far).max(0)
        image[distance < radius] = 1.0 if shape == DISC else 0.5
        label[distance < radius + 1] = UNSURE
        label[distance < radius - 1] = shape
    return image + rng.normal(scale=0.3, size=image.shape), label


rng = np.random.default_rng(0)
pairs = [draw(rng) for _ in range(80)]
images = torch.tensor(np.array([image for image, _ in pairs]), dtype=torch.float32)[:, None]
labels = torch.from_numpy(np.array([label for _, label in pairs]).astype(np.uint8))

# %%
# Discs are brighter than squares; a few dilated convolutions see past the noise. Most pixels are
# background: the class weights let the shapes count four times as much. Labels are uint8, as they
# come from a file.

torch.manual_seed(0)
layers = [torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU()]
for dilation in (2, 4):
    layers += [torch.nn.Conv2d(16, 16, 3, padding=dilation, dilation=dilation), torch.nn.ReLU()]
model = torch.nn.Sequential(*layers, torch.nn.Conv2d(16, 3, 1))
optimizer = st.AdamW(model.parameters(), lr=1e-2)
weight = torch.tensor([1.0, 4.0, 4.0])

losses = []
for _ in range(10):
    for batch in torch.randperm(64).split(8):
        logits = model(images[batch])
        loss = st.cross_entropy(
            logits, labels[batch], weight=weight, ignore_index=UNSURE, inplace=True
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

with torch.no_grad():
    guess = model(images[64:]).argmax(1)
truth = labels[64:]
sure = truth != UNSURE
accuracy = (guess[sure] == truth[sure]).double().mean().item()
print(f"loss of the last batch {losses[-1]:.4f}, accuracy of the test pixels {accuracy:.3f}")

# %%
# Test images, their labels with the unsure pixels in white, and what the model makes of them.

fig, panels = plt.subplots(3, 4, figsize=(7, 5.4), layout="constrained")
for column, (image, label, found) in enumerate(zip(images[64:, 0], truth, guess, strict=True)):
    if column == 4:
        break
    shown = np.ma.masked_equal(label.numpy(), UNSURE)
    for axes, picture, options in (
        (panels[0, column], image, {"cmap": "gray"}),
        (panels[1, column], shown, {"vmin": 0, "vmax": 2}),
        (panels[2, column], found, {"vmin": 0, "vmax": 2}),
    ):
        axes.imshow(picture, **options)
        axes.set(xticks=[], yticks=[])
for axes, name in zip(panels[:, 0], ("image", "label", "found"), strict=True):
    axes.set_ylabel(name)
plt.show()
