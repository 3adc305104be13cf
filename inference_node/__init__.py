"""The first process of a replica: starts an engine, says how it is, drains it.

Never imports `controller` or `exporters`.
"""
