"""Ray casting with Embree (package embreex): the default backend, on the CPU."""

import numpy as np

from c2p.geometry.meshes import Mesh
from c2p.rendering.gbuffer import GBuffer, camera_position, world_rays


class EmbreeScene:
    """A mesh with its bounding volume hierarchy."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene as Bvh

        self._bvh = Bvh()
        vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float32)
        self._triangles = TriangleMesh(self._bvh, vertices, np.ascontiguousarray(mesh.faces, dtype=np.int32))

    def rasterize(self, rotation: np.ndarray, distance: float, fov: float, size: int) -> GBuffer:
        """See the mesh in a view (gbuffer.Scene)."""
        rays = world_rays(rotation, fov, size).reshape(-1, 3)
        origins = np.empty_like(rays)
        origins[:] = camera_position(rotation, distance).astype(np.float32)
        hit = self._bvh.run(origins, rays, output=True)
        face, u, v = hit["primID"], hit["u"], hit["v"]
        missed = face < 0
        barycentric = np.stack([1 - u - v, u, v], axis=-1)
        barycentric[missed] = 0
        depth = np.where(missed, np.float32(0), hit["tfar"])
        return GBuffer(
            face.astype(np.int32, copy=False).reshape(size, size),
            barycentric.reshape(size, size, 3),
            depth.reshape(size, size),
        )


def prepare(mesh: Mesh) -> EmbreeScene:
    """Make a mesh ready for ray casting."""
    return EmbreeScene(mesh)
