"""NVML without a GPU: a library of our own under the name of the driver's, so that the unmodified nvidia-ml-py runs."""
