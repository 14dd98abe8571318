"""RGB views of meshes: G-buffer backends under one shader."""

from c2p.rendering.rendered import Rendered, render_views

__all__ = ["Rendered", "render_views"]
