"""Grafana boards as code, and the JSON that comes of it.

The SDK is needed to write them, not to use them: the JSON is kept beside this file and goes into the package.
"""
