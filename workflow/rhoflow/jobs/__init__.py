"""Training jobs: from files to tables, in one process or in one a device."""
