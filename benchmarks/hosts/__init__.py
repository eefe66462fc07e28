"""Hosts on one machine: network namespaces joined by a bridge, a Ray across them, and faults.

`network()` gives hosts, `RayCluster` starts Ray on them, `service()` Gradloom on the first, and
`faults` cuts, loses and slows what they say to each other. All of it needs root.
"""
