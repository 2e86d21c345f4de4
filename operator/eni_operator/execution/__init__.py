"""Performs what a plan asks for in EC2. Decides nothing but order, waiting and when to try again."""
