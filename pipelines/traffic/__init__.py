"""Realistic API6 traffic with named defects, reproducible from a seed. Pure: no network, no disk, no clock."""
