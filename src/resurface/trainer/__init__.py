"""From a base to the models of its epochs, by transformers' Trainer; the stage is `stages.training`."""
