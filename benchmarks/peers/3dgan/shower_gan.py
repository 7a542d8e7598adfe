# SPDX-License-Identifier: Apache-2.0
"""3DGAN as an informed PyTorch user writes it: NCDHW, eager, every trap of the published port avoided.

Parameter names and the order of the dense output are those of our networks, so that weights can be exchanged.
"""
import torch
import torch.nn.functional as F
from torch import nn

SLOPE = 0.3
POWER = {"fixed": 1.0, "angle": 0.85}
LOSS_WEIGHTS = {"fixed": (6, 0.2, 0.1), "angle": (3, 0.1, 25, 0.1)}


def batch_norm(channels, epsilon):
    return nn.BatchNorm3d(channels, eps=epsilon, momentum=0.01)  # Keras' 0.99


class Generator(nn.Module):
    """25x25x25: [B, 200] to [B, 1, 25, 25, 25]."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(200, 3136)
        self.conv1 = nn.Conv3d(8, 64, (6, 6, 8), padding="same")
        self.bn1 = batch_norm(64, 1e-3)
        self.conv2 = nn.Conv3d(64, 6, (6, 5, 8), padding=(2, 2, 0))
        self.bn2 = batch_norm(6, 1e-3)
        self.conv3 = nn.Conv3d(6, 6, (3, 3, 8), padding=(1, 0, 3))
        self.conv4 = nn.Conv3d(6, 1, 2, bias=False)
        self.up1 = nn.Upsample(scale_factor=2)
        self.up2 = nn.Upsample(scale_factor=(2, 2, 3))

    def forward(self, latent):
        image = self.dense(latent).view(-1, 7, 7, 8, 8).permute(0, 4, 1, 2, 3)
        image = self.up1(self.bn1(F.leaky_relu(self.conv1(image), SLOPE)))
        image = self.up2(self.bn2(F.leaky_relu(self.conv2(image), SLOPE)))
        return F.relu(self.conv4(F.leaky_relu(self.conv3(image), SLOPE)))


class AngleGenerator(nn.Module):
    """51x51x25: [B, 256] to [B, 1, 51, 51, 25]."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(256, 5184)
        self.up = nn.Upsample(scale_factor=6)
        self.conv1 = nn.Conv3d(8, 8, (6, 6, 8))
        self.conv2 = nn.Conv3d(8, 6, (4, 4, 6), padding=(2, 2, 1))
        self.conv3 = nn.Conv3d(6, 6, (4, 4, 6), padding=(2, 2, 1))
        self.conv4 = nn.Conv3d(6, 6, (4, 4, 6), padding=(2, 2, 1))
        self.conv5 = nn.Conv3d(6, 6, (3, 3, 5), padding=(1, 1, 0))
        self.conv6 = nn.Conv3d(6, 6, 3, padding=(1, 1, 0))
        self.conv7 = nn.Conv3d(6, 1, 2)
        for layer, channels in enumerate((8, 6, 6, 6, 6), start=1):
            setattr(self, f"bn{layer}", batch_norm(channels, 1e-6))

    def forward(self, latent):
        image = self.up(self.dense(latent).view(-1, 9, 9, 8, 8).permute(0, 4, 1, 2, 3))
        image = self.bn1(F.relu(self.conv1(image)))
        image = self.bn2(F.relu(self.conv2(image)))
        image = self.bn3(F.relu(self.conv3(image)))
        image = self.bn4(F.relu(self.conv4(image)))
        image = self.bn5(F.relu(self.conv5(image)))
        return F.relu(self.conv7(F.relu(self.conv6(image))))


class Discriminator(nn.Module):
    """Judges [B, 1, X, Y, Z]: logit, energy / 100 GeV, [angle,] sum of the cells, each [B]."""

    def __init__(self, variant, dropout=0.2):
        super().__init__()
        self.variant = variant
        kernel, channels, flat, epsilon = ((5, 5, 5), 32, 10648, 1e-3) if variant == "fixed" else ((5, 6, 6), 16, 19152, 1e-6)
        pads = ((2, 2, 2), (2, 2, 2), (1, 1, 1)) if variant == "fixed" else ((0, 0, 1), (0, 0, 1), (0, 0, 0))
        self.conv1 = nn.Conv3d(1, channels, kernel, padding="same")
        self.conv2 = nn.Conv3d(channels, 8, kernel, padding=pads[0])
        self.conv3 = nn.Conv3d(8, 8, kernel, padding=pads[1])
        self.conv4 = nn.Conv3d(8, 8, kernel, padding=pads[2])
        self.bn2, self.bn3, self.bn4 = (batch_norm(8, epsilon) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.pool = nn.AvgPool3d(2)
        self.generation = nn.Linear(flat, 1)
        self.auxiliary = nn.Linear(flat, 1)

    def forward(self, image):
        x = self.dropout(F.leaky_relu(self.conv1(image), SLOPE))
        x = self.dropout(self.bn2(F.leaky_relu(self.conv2(x), SLOPE)))
        x = self.dropout(self.bn3(F.leaky_relu(self.conv3(x), SLOPE)))
        x = self.dropout(self.bn4(F.leaky_relu(self.conv4(x), SLOPE)))
        x = self.pool(x).permute(0, 2, 3, 4, 1).flatten(1)
        heads = [self.generation(x).squeeze(1).float(), self.auxiliary(x).squeeze(1).float()]
        cells = image.squeeze(1).float()
        if self.variant == "angle":
            cells = cells ** (1 / POWER["angle"])
            heads.append(ecal_angle(cells))
        heads.append(cells.sum((1, 2, 3)))
        return heads


def ecal_angle(cells):
    """Angle of the shower axis to z, [B]; cells [B, X, Y, Z]. 100 for an empty shower."""
    x, y, z = (torch.arange(n, device=cells.device, dtype=cells.dtype) + 0.5 for n in cells.shape[1:])
    along_x, along_y = cells.sum(2), cells.sum(1)  # [B, X, Z], [B, Y, Z]
    layers = along_x.sum(1)  # [B, Z]
    total = layers.sum(1)
    empty, hit = total == 0, layers > 0
    safe_total = torch.where(empty, torch.ones_like(total), total).unsqueeze(1)
    safe_layers = torch.where(hit, layers, torch.ones_like(layers))
    moment_x, moment_y = (along_x * x[:, None]).sum(1), (along_y * y[:, None]).sum(1)
    x_ref, y_ref = moment_x.sum(1, keepdim=True) / safe_total, moment_y.sum(1, keepdim=True) / safe_total
    z_ref = (layers * z).sum(1, keepdim=True) / safe_total
    run = ((moment_x / safe_layers - x_ref) ** 2 + (z - z_ref) ** 2).sqrt()
    slope = (moment_y / safe_layers - y_ref) / run
    angle = torch.pi / 2 - torch.atan(torch.where(z < z_ref, -slope, slope))
    weights = z * hit
    mean = (angle * weights).sum(1) / weights.sum(1).clamp(min=0.5)
    return torch.where(empty, torch.full_like(mean, 100), mean)


def mape(target, value):
    return 100 * ((target - value).abs() / target.abs().clamp(min=1e-7)).mean()


def losses(variant, heads, real, targets):
    """Weighted sum first, then its terms. `targets`: energy / 100 GeV, [angle,] sum."""
    terms = [F.binary_cross_entropy_with_logits(heads[0], real), mape(targets[0], heads[1])]
    if variant == "angle":
        terms.append((targets[1] - heads[2]).abs().mean())
    terms.append(mape(targets[-1], heads[-1]))
    return [sum(weight * term for weight, term in zip(LOSS_WEIGHTS[variant], terms)), *terms]


class Gan:
    """The published training step: discriminator on real, on fake, generator twice."""

    def __init__(self, variant, precision="float32", dropout=0.2, channels_last=False, device="cpu"):
        self.variant, self.bfloat16, self.device = variant, precision == "bfloat16", device
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        self.generator = (Generator() if variant == "fixed" else AngleGenerator()).to(device, memory_format=layout)
        self.discriminator = Discriminator(variant, dropout).to(device, memory_format=layout)
        rmsprop = dict(lr=1e-3, alpha=0.9, eps=1e-7)
        self.generator_optimizer = torch.optim.RMSprop(self.generator.parameters(), **rmsprop)
        self.discriminator_optimizer = torch.optim.RMSprop(self.discriminator.parameters(), **rmsprop)

    def autocast(self):
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bfloat16)

    def generate(self, latent):
        with self.autocast():
            return self.generator(latent)

    def train_discriminator(self, image, real, targets):
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            heads = self.discriminator(image)
        result = losses(self.variant, heads, real, targets)
        result[0].backward()
        self.discriminator_optimizer.step()
        return [term.detach() for term in result]

    def train_generator(self, latent, targets):
        self.generator_optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            heads = self.discriminator(self.generator(latent))
        result = losses(self.variant, heads, torch.ones(len(latent), device=latent.device), targets)
        result[0].backward()
        self.generator_optimizer.step()
        return [term.detach() for term in result]

    def step(self, image, latents, flips, real_targets, fake_targets):
        """`latents`, `fake_targets`: three of each, for the fakes and the generator's two updates; `flips`: labels of real and fake."""
        self.generator.eval()
        with torch.no_grad():
            fake = self.generate(latents[0])
        result = [self.train_discriminator(image, flips[0], real_targets), self.train_discriminator(fake, flips[1], fake_targets[0])]
        self.generator.train()
        self.discriminator.requires_grad_(False)
        result += [self.train_generator(latents[i], fake_targets[i]) for i in (1, 2)]
        self.discriminator.requires_grad_(True)
        return result
