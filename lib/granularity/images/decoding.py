"""One image: its bytes as RGB pixels, or an error that names it."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


class ImageError(ValueError):
    """An image that cannot be decoded: the message names it and says why."""


def rgb(content: bytes, name: str) -> Image.Image:
    """The pixels of an encoded image, in RGB and whole.

    Greyscale, palette, CMYK and 16-bit images are converted; transparency is dropped and an EXIF
    orientation is not applied, as in torchvision's and timm's readers (so broken EXIF hurts
    nobody). Raises ImageError, naming the image, for what is empty, truncated, no image, or so
    large that Pillow takes it for a decompression bomb (above 179 million pixels).
    """
    if not content:
        raise ImageError(f"{name}: an empty file")
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return _to_rgb(image)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: no whole image (of no known kind)") from error
    except Exception as error:  # a bomb is no OSError, and broken files raise a dozen other kinds
        raise ImageError(f"{name}: no whole image ({type(error).__name__}: {error})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Pillow's own conversion, but for the modes that it clips at 255 instead of scaling."""
    if image.mode.startswith("I"):  # 16 bits, also where Pillow keeps them in 32
        grey = np.asarray(image).astype(np.int64).clip(0, 65_535) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels, of which no range is known")
    if image.has_transparency_data:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def square(image: Image.Image, size: int) -> Image.Image:
    """The image with its shorter side scaled to `size`, and the middle square of that.

    An image that has this size already is left as it is.
    """
    if image.size == (size, size):
        return image
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    scaled = image.resize((width, height), Image.Resampling.BICUBIC)
    return scaled.crop((left, top, left + size, top + size))


def padded(image: Image.Image) -> Image.Image:
    """The whole image in the middle of a square as large as its longer side.

    What is added has the colour that most of the image's edge has, by channel: silhouettes lie on
    a ground of one brightness, and no line is to mark where they end.
    """
    if image.width == image.height:
        return image
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = tuple(int(level) for level in np.median(edge, axis=0))
    side = max(image.size)
    return ImageOps.pad(image, (side, side), color=ground)
