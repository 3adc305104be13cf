"""The loop: observe -> plan -> record -> act -> report, over and over, one tick at a time."""
