"""Structural similarity of images (Wang et al. 2004, IEEE Trans Image Process 13:600)."""

import torch
from torch.nn.functional import conv2d

WINDOW, WIDTH = 11, 1.5  # voxels; standard deviation of the Gaussian window
CONSTANTS = (0.01, 0.03)  # over the range of the images


def structural_similarity(first, second):
    """Mean over windows of two images (b, e, h, w) whose range is about 1.

    SSIM = (2 m1 m2 + c1)(2 s12 + c2) / ((m1^2 + m2^2 + c1)(s1^2 + s2^2 + c2)); m, s2 and s12 are means, variances and
    covariance in a Gaussian window.
    """
    place = torch.arange(WINDOW, device=first.device, dtype=first.dtype) - WINDOW // 2
    line = torch.exp(-(place**2) / (2 * WIDTH**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    x, y = first.flatten(0, 1)[:, None], second.flatten(0, 1)[:, None]
    mean_x, mean_y = conv2d(x, window), conv2d(y, window)
    var_x, var_y = conv2d(x * x, window) - mean_x**2, conv2d(y * y, window) - mean_y**2
    both = conv2d(x * y, window) - mean_x * mean_y
    c1, c2 = (c**2 for c in CONSTANTS)
    found = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return found.mean()
