"""The service between nginx and the Redis that several gateways keep answers in.

nginx looks here after its own cache and before it asks a replica, and stores here what a replica has answered. It goes
on without us: what we cannot say at once we refuse to say. Imports nothing of Stoker's other packages.
"""
