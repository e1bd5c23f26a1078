"""Recordings in NWB 2 files, read lazily through pynwb."""
