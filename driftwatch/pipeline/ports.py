"""What the pipeline needs of the worlds around it, each a Protocol of at most five methods.

The adapters (`git`, `terraform`, `aws`, `store`) fulfil these without importing this module; `cli` puts them
together. The values that cross a port belong to the adapter that makes them or to `driftwatch.model`.
"""
