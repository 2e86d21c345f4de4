"""Where the agent meets the API server: supply and pods come in, usage goes out. All of it may be away."""
