"""Ray casting with Embree (package embreex): the default backend, on the CPU."""

import numpy as np

from c2p.geometry.meshes import Mesh
from c2p.rendering.gbuffer import MISS, GBuffer, camera_position, sample_window, world_rays


class EmbreeScene:
    """A mesh with its bounding volume hierarchy."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene as Bvh

        self._bvh = Bvh()
        self._low, self._high = mesh.vertices.min(0), mesh.vertices.max(0)
        vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
        self._triangles = TriangleMesh(self._bvh, vertices, np.ascontiguousarray(mesh.faces, dtype=np.int32))

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view (gbuffer.Scene)."""
        window = sample_window(self._low, self._high, rotation, distance, fov, size)
        rays = np.ascontiguousarray(world_rays(rotation, fov, size)[window])
        face = np.full((size, size), MISS, dtype=np.int32)
        barycentric = np.zeros((size, size, 3), dtype=np.float32)
        depth = np.zeros((size, size), dtype=np.float32)
        if rays.size:
            origins = np.empty_like(rays)
            origins[:] = camera_position(rotation, distance).astype(np.float32)
            hit = self._bvh.run(origins.reshape(-1, 3), rays.reshape(-1, 3), output=True)
            seen, u, v, t = (hit[name].reshape(rays.shape[:2]) for name in ("primID", "u", "v", "tfar"))
            met = seen >= 0
            face[window] = seen
            barycentric[window] = np.stack([1 - u - v, u, v], axis=-1) * met[..., None]
            depth[window] = np.where(met, t, 0)
        return GBuffer(face, barycentric, depth)


def prepare(mesh: Mesh) -> EmbreeScene:
    """Make a mesh ready for ray casting."""
    return EmbreeScene(mesh)
