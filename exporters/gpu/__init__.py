"""GPUs and the machine that they are in, as Prometheus metrics under the DCGM exporter's names."""
