"""What we believe about AWS, and when to ask again. Reads EC2, writes nothing there."""
