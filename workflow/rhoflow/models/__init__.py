"""Models: each module holds a spec, the model, and ``fit``; ``registry`` finds them by kind."""
