"""3D convolutional network on R3DVS voxels, or on images of densities.

Architecture after Kajita et al., Sci. Rep. 7, 16991 (2017), Fig. 2 and Methods: convolutions
of stride 1, max-pooling of stride 2, leaky ReLU, dense layers, Adam, mean squared error,
standardised targets. The layer sizes of their Table 1 are not public, so ours are config.
Rotation invariance is learned from rotated replicas, never from the unrotated originals.

Convolutions of several scales side by side and attention to channels and voxels are what the name
of the MSA-3DCNN says (Chen et al., arXiv 2510.13207 (2025)), whose layers are not public either.
With circular padding and the mean over voxels at the end the network is invariant to shifts of
a periodic image by whole strides, 2 to the number of poolings, where these divide its edge.
"""
