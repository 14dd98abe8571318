"""Point clouds, texts and pictures in one space: the Python interface.

Letters: B objects, P points, V views, K texts, C feature width, H W pixels. World frame: y up, z towards the viewer of
the front view.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from c2p import params
from c2p.data.cloudformats import CloudError, check_cloud
from c2p.data.shapes import open_shape, standard_cloud
from c2p.device import DeviceUnavailable
from c2p.evaluation.bank import IMAGES_PER_BATCH
from c2p.evaluation.drawings import Clip2PointDrawing
from c2p.evaluation.features import encode_views
from c2p.evaluation.labels import check_labels, shortened
from c2p.evaluation.zeroshot import softmax, zeroshot_logits
from c2p.geometry.meshes import rotate_up
from c2p.geometry.views import view_set
from c2p.models.clip import Clip, encode_images, encode_text, load_clip, prepare_images
from c2p.models.device import compute_device
from c2p.models.encoder_folder import HUB, find_folder, find_preprocessing, find_teacher
from c2p.models.folder import ModelError
from c2p.models.network import VISUAL
from c2p.models.photographs import square_pictures
from c2p.models.point_folder import check_point_clip, is_point_folder
from c2p.models.point_model import PointModel, encode_clouds, load_point_model
from c2p.models.preprocessing import Preprocessing
from c2p.models.prompts import class_text, encode_prompts
from c2p.models.templates import templates_of
from c2p.models.visual_prompts import PromptedTower


def load(
    path: Path | str = "models/depth_encoder",
    *,
    device: str | None = None,
    teacher: Path | str | None = None,
    settings: params.Params | Path | str | None = None,
) -> "Encoder":
    """Load a depth encoder, or a 3D encoder of CG3D.

    path: its folder, as the stage `select` leaves it, a hub cache folder, or `hf-hub:OWNER/NAME`; a 3D encoder's, as
    the stage `cg3d` leaves it, or the folder of all its seeds: the best by the validation split is taken.
    device: `cpu`, `cuda` or `cuda:N`; None: what C2P_DEVICE says, else the first GPU, else the CPU.
    teacher: folder or `hf-hub:OWNER/NAME` of the CLIP whose language it speaks, wanted by `encode_images` and by 3D
    encoders; None: the folder `clip` beside that of the encoder, or of all seeds' (3D encoders: `cg3d_clip`).
    settings: parameters, or their file, that say how shapes are drawn; None: those that lie beside the encoder.

    Raises ValueError, one line: no such encoder, an encoder without settings, a device that is not there.
    """
    folder = find_folder(path)
    preprocessing = find_preprocessing(folder, settings)
    place = find_teacher(path) if teacher is None else teacher
    on = _device(device)
    if not is_point_folder(folder):
        clip = load_clip(folder)
        clip.model.to(on)
        return Encoder(clip, preprocessing, teacher=place)
    language = find_folder(place) if str(place).startswith(HUB) else Path(place)
    check_point_clip(folder, language)
    clip, model = load_clip(language), load_point_model(folder)
    clip.model.to(on)
    model.encoder.to(on)
    return Encoder(clip, preprocessing, teacher=language, point_model=model)


class Encoder:
    """A depth or 3D encoder and the text tower it was trained beside; `load` makes it."""

    def __init__(
        self,
        clip: Clip,
        preprocessing: Preprocessing,
        *,
        teacher: Path | str,
        point_model: PointModel | None = None,
    ) -> None:
        """point_model: a 3D encoder, which reads points in place of `clip`'s image tower; None: that tower is the depth
        encoder."""
        self.clip = clip
        self.point_model = point_model
        self.preprocessing = preprocessing
        self._drawing = Clip2PointDrawing(preprocessing.depth)
        self._rotations = view_set(preprocessing.zeroshot.views).rotations
        self._teacher_place = teacher
        self._teacher: Clip | None = None

    @property
    def width(self) -> int:
        """C, the width of every feature."""
        return self.clip.width

    @property
    def points(self) -> int:
        """Farthest points it reads of a cloud."""
        return self.preprocessing.sample.points

    @property
    def scale(self) -> float:
        """CLIP's learnt scale, by which cosines become logits."""
        return float(self.clip.model.logit_scale.exp())

    def read_points(self, address: str, *, up: Literal["y", "z"] = "y") -> np.ndarray:
        """Points of a mesh's surface, or of a cloud: (P, 3) float, y up, for the methods below.

        address: FILE, FILE:PART or ARCHIVE:MEMBER (c2p.data.shapes). up: up axis of the file.
        Raises ValueError: it can't be used.
        """
        return open_shape(address, self.preprocessing.render, up=up).points

    def encode_points(self, points: Any, *, up: Literal["y", "z"] = "y", normalise: bool = True) -> np.ndarray:
        """Features of point clouds, to be compared by cosine with those of texts, pictures and other clouds.

        points: (B, P, 3) or (P, 3) numbers, or a list of (P, 3) whose P differ; at least `self.points` each. Any unit
        and place; numpy arrays, torch tensors or lists.
        up: up axis of the clouds; z is turned as CLIP2Point's published code turns ModelNet, (x, y, z) -> (-y, z, -x).
        normalise: off, the clouds are in the encoder's frame already: mean at the origin, farthest point at distance 1.
        Returns (B, C) float32 of length one: the views' features of length one, averaged, brought to length one; B is 1
        for a single cloud. The order of a cloud's points has no part in it but through the first farthest point.
        Raises ValueError: another shape, too few points, numbers that are not finite, all points in one place.
        """
        views = self.encode_views(points, up=up, normalise=normalise).astype(np.float64)
        return _unit(_unit(views).mean(1)).astype(np.float32)

    def encode_views(self, points: Any, *, up: Literal["y", "z"] = "y", normalise: bool = True) -> np.ndarray:
        """Features of each view of point clouds as the tower gives them: (B, V, C) float32, not of length one.

        A 3D encoder sees no views: V is 1, and the features are of length one. Arguments and errors as encode_points.
        """
        clouds = self.clouds(points, up=up, normalise=normalise)
        if self.point_model is not None:
            return encode_clouds(self.point_model.encoder, torch.from_numpy(clouds)).numpy()[:, None]
        return encode_views(
            lambda images: encode_images(self.clip, images),
            clouds,
            self._rotations,
            lambda some, rotations: self._drawing.draw(some, rotations, self.clip.image_size),
            max(1, IMAGES_PER_BATCH[self.clip.device.type] // len(self._rotations)),
            device=str(self.clip.device),
        )

    def encode_text(self, texts: str | Sequence[str]) -> np.ndarray:
        """Features of texts as they stand, no prompt around them: K texts to (K, C) float32 of length one.

        Raises ValueError: none, an empty one, or one that is longer than the encoder reads.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        self._check_texts(texts, ["{}"])
        return encode_text(self.clip, texts).cpu().numpy()

    def encode_labels(self, labels: Sequence[str]) -> np.ndarray:
        """Features of labels in the encoder's own prompts: K names to (K, C) float32 of length one.

        Raises ValueError: as classify.
        """
        labels = check_labels(labels)
        templates = templates_of(self.preprocessing.zeroshot)
        self._check_texts(labels, templates)
        return class_text(encode_prompts(self.clip, labels, templates))

    def encode_images(self, images: Any) -> np.ndarray:
        """Features of ordinary pictures under the teacher's image tower, which has to be at hand (see `load`).

        images: a PIL image, a uint8 array (H, W, 3) or (B, H, W, 3), or a list of them; red, green, blue. What is not
        square is cut or filled as the teacher's configuration says, what is transparent becomes white.
        Returns (B, C) float32 of length one.
        Beside a 3D encoder the tower has the visual prompts that were trained with it.
        Raises ValueError: no picture, no teacher, or one of another encoder.
        """
        teacher = self._load_teacher()
        encode = self._image_tower(teacher)
        features = []
        for picture in square_pictures(images, teacher.resize_mode):
            pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
            features.append(encode(pixels).cpu().numpy())
        return _unit(np.concatenate(features).astype(np.float64)).astype(np.float32)

    def classify(
        self, points: Any, labels: Sequence[str], *, up: Literal["y", "z"] = "y", normalise: bool = True
    ) -> np.ndarray:
        """Probabilities of labels, zero-shot: (B, K) float64, rows sum to one; no calibrated confidence.

        labels: K names, e.g. ["chair", "table"]; the encoder's own prompts are put around them. Other arguments as
        encode_points. softmax of `logits` times CLIP's learnt scale (CLIP2Point Eq. 15).
        Raises ValueError: as encode_points; fewer than two labels, an empty one, one twice, or one that is too long.
        """
        return self.probabilities(self.logits(points, labels, up=up, normalise=normalise))

    def logits(
        self, points: Any, labels: Sequence[str], *, up: Literal["y", "z"] = "y", normalise: bool = True
    ) -> np.ndarray:
        """Mean over the views of their cosines with the labels' prompts: (B, K) float64 in [-1, 1], as `zeroshot`'s.

        Arguments and errors as classify.
        """
        text = self.encode_labels(labels)
        return zeroshot_logits(self.encode_views(points, up=up, normalise=normalise), text)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax of logits (..., K) times CLIP's learnt scale: float64."""
        return softmax(self.scale * logits)

    def clouds(self, points: Any, *, up: Literal["y", "z"] = "y", normalise: bool = True) -> np.ndarray:
        """What the encoder reads of clouds: (B, `self.points`, 3) float32, unit sphere, y up.

        Arguments and errors as encode_points.
        """
        return np.stack(
            [
                _checked(cloud, number, self.points, up=up, normalise=normalise)
                for number, cloud in enumerate(_separate(points))
            ]
        )

    def draw(self, clouds: np.ndarray) -> np.ndarray:
        """Depth maps of what `clouds` gave, as the encoder sees them: (B, V, H, W) uint8, white where nothing is."""
        turns = torch.as_tensor(self._rotations, dtype=torch.float32)
        maps = self._drawing.draw(torch.from_numpy(clouds), turns, self.clip.image_size)
        grey: np.ndarray = (maps[:, :, 0] * 255).round().to(torch.uint8).numpy()
        return grey

    def _check_texts(self, texts: Sequence[str], templates: Sequence[str]) -> None:
        """Refuse texts of which the tower would read a part only, without a word."""
        if not texts:
            raise ValueError("texts: got none; give at least one")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"texts: got {text!r}; allowed: words")
            longest = max(templates, key=len).format(text)
            whole, more = self.clip.tokenizer([longest, f"{longest} and"])
            if torch.equal(whole, more):
                raise ValueError(
                    f"{shortened(text)!r} is longer than the encoder reads ({len(whole)} tokens); shorten it"
                )

    def _image_tower(self, teacher: Clip) -> Callable[[torch.Tensor], torch.Tensor]:
        """Pictures (B, 3, H, W) in [0, 1] to features (B, C)."""
        prompts = None if self.point_model is None else self.point_model.prompts
        if prompts is None:
            return lambda pixels: encode_images(teacher, pixels)
        tower = PromptedTower.with_prompts(teacher, prompts)
        return lambda pixels: tower(prepare_images(pixels.to(teacher.device), teacher)).float()

    def _load_teacher(self) -> Clip:
        if self.point_model is not None:
            return self.clip
        if self._teacher is None:
            place = self._teacher_place
            needed = "pictures need the image tower of the encoder's teacher"
            if not str(place).startswith(HUB) and not Path(place).exists():
                raise ModelError(
                    f"{place}: not there; {needed}: give its folder, or hf-hub:OWNER/NAME (teacher=, --teacher)"
                )
            teacher = load_clip(find_folder(place))
            check_teacher(self.clip, teacher, str(place))
            teacher.model.to(self.clip.device)
            self._teacher = teacher
        return self._teacher


def check_teacher(clip: Clip, teacher: Clip, place: str) -> None:
    """Refuse a CLIP that speaks another language than a depth encoder: another width, or another text tower.

    Raises ModelError.
    """
    if teacher.width != clip.width:
        raise ModelError(
            f"{place}: features of width {teacher.width}, the encoder's have {clip.width}; give the encoder's teacher"
        )
    own, others = (
        {name: tensor for name, tensor in model.model.state_dict().items() if not name.startswith(VISUAL)}
        for model in (clip, teacher)
    )
    same = own.keys() == others.keys() and all(torch.equal(own[name].cpu(), others[name].cpu()) for name in own)
    if not same:
        raise ModelError(
            f"{place}: its text tower is not the encoder's; give the CLIP that the encoder was trained with"
        )


def _separate(points: Any) -> list[np.ndarray]:
    if isinstance(points, list | tuple) and points and np.ndim(points[0]) == 2:
        return [_array(cloud) for cloud in points]
    values = _array(points)
    if values.ndim not in (2, 3) or len(values) == 0:
        raise ValueError(
            f"points: got an array of shape {values.shape}; allowed: (P, 3), (B, P, 3) or a list of (P, 3)"
        )
    return [values] if values.ndim == 2 else list(values)


def _array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"points: {error}; allowed: (P, 3), (B, P, 3) or a list of (P, 3)") from None


def _checked(cloud: np.ndarray, number: int, count: int, *, up: Literal["y", "z"], normalise: bool) -> np.ndarray:
    """One cloud as the encoder reads it: (count, 3) float32."""
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise ValueError(f"points: cloud {number} has shape {cloud.shape}; allowed: (P, 3)")
    try:
        cloud = rotate_up(check_cloud(cloud), up)
        if not normalise and (largest := float(np.linalg.norm(cloud, axis=1).max())) > 1.001:
            raise CloudError(f"a point at distance {largest:g} of the origin, where normalise is off; allowed: up to 1")
        return standard_cloud(cloud, count, normalise=normalise)
    except CloudError as error:
        raise ValueError(f"points: cloud {number}: {error}") from None


def _device(name: str | None) -> torch.device:
    if name is None:
        return compute_device()
    allowed = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in allowed:
        raise DeviceUnavailable(f"device: got {name!r}; allowed here: {', '.join(allowed)}")
    return torch.device(wanted)


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return lengths
