"""What is run beside the product: the benchmark, the training of the miniature and its examination."""
