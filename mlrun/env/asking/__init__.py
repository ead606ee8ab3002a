"""What a project asks of its environment: the files that people keep, and what they mean by them."""
