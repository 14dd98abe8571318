"""From 3D meshes to a depth encoder that speaks CLIP's language."""
