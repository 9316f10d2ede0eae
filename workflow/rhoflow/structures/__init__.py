"""Where crystal structures come from, and how a dataset is chosen among them."""
