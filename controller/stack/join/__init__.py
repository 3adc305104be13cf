"""`stoker gateway join`: an nginx on a machine of its own, which follows a controller elsewhere.

It asks about once a second, tests, reloads, and says what it runs. With the controller away it serves what it has, also
after a restart.
"""
