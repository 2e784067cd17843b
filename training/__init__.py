"""Data, augmentation, losses, tuning, the training loop and evaluation."""
