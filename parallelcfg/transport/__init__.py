"""How a batch becomes bytes, and how large buffers stay out of them."""
