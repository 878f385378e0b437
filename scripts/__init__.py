"""What is run beside the product: the training of the miniature and its examination."""
