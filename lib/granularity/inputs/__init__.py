"""What people write: YAML that reads as it looks, fields that are checked, the nearest name.

For size files, jobs, claims and recipes alike. It knows none of them.
"""
