"""The stages from a model to its scores; none imports another, `workflows` composes them."""
