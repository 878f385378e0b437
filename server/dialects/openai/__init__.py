"""OpenAI's API of images, as its client libraries speak it."""
