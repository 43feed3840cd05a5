"""The demo world: a grammar of requests, a simulated assistant, simulated users and spoken recordings."""
