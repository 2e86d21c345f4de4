"""The AWS edge: what we ask of EC2, in our own types, and what its errors mean."""
