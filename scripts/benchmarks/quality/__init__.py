"""What each method is worth: paired runs on shifted data, their results, and tables, plots and goals made of them."""
