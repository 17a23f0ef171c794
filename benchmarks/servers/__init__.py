"""Real servers for tests and benchmarks, on loopback, gone with the process that started them."""
