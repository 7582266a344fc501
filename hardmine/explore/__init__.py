"""`hardmine explore`: an image, a light that a person chooses, and what the model makes of both."""
