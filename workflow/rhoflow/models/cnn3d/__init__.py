"""3D convolutional network on R3DVS voxels.

Architecture after Kajita et al., Sci. Rep. 7, 16991 (2017), Fig. 2 and Methods: convolutions
of stride 1, max-pooling of stride 2, leaky ReLU, dense layers, Adam, mean squared error,
standardised targets. The layer sizes of their Table 1 are not public, so ours are config.
Rotation invariance is learned from rotated replicas, never from the unrotated originals.
"""
