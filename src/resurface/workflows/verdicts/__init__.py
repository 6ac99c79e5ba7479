"""Base and treated models, attacked from several sides, and what that shows."""
