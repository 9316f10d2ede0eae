"""How models are judged: splits, metrics, protocols, and the claims of the papers."""
