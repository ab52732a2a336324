"""Configuration: YAML in, frozen validated settings out.

The parts are imported one by one (`settings`, `loading`, `repository_file`, `globs`, `json_schema`): who only
needs the shape of a setting should not pay for a YAML reader.
"""
